"""The running gateway: contract, payments, ledger, disclosure, night, command line."""

"""Matches bank entries with ledger lines; knows nothing of files' origin, RPC or the gateway."""

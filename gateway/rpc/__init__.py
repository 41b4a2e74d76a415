"""The wire: identity, access, limits, errors, and one servicer a service of the contract."""

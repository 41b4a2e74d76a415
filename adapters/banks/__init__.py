"""Bank profiles as data: one TOML file a bank, named by its id."""

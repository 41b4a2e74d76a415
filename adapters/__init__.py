"""Bank files and the ways they travel; nothing here knows the gateway."""

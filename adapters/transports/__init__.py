"""Ways to hand files to a bank and to take files from it."""

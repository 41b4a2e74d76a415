"""What is owed to the owners, by when, and what was not done by then."""

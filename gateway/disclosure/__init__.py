"""Lines as owners see them: live, to the fen, and without the name of any private person."""

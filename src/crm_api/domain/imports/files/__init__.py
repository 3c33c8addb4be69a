"""Read the rows of uploaded files, and claim, release and end imports of every kind."""

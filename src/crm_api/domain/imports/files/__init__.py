"""Read the rows of uploaded files, and reserve imports of every kind for workers."""

"""What kind of line a number is: asked offline and of a paid service, kept, and counted."""

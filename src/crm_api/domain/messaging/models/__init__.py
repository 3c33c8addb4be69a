"""The tables of this area, below every use case."""

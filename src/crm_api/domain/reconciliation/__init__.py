"""Compares what the provider has with what is stored here, and fills the gaps."""

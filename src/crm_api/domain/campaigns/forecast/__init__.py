"""Forecast when a campaign will be finished, and which rule delays it most."""

"""Forecast when a campaign will have sent its last message, and which rule delays it most."""

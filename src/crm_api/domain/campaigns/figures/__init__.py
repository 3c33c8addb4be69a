"""Compute statistics and A/B tests; pause campaigns with too many failures or opt-outs."""

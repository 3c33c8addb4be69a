"""Statistics and A/B tests of campaigns; pause campaigns with too many failures or opt-outs."""

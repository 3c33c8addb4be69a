"""Pictures, recordings and voicemail: fetched from the provider, stored once, served."""

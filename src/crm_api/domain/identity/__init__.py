"""Users and API keys: who may call the API, and with which rights."""

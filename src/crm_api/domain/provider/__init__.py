"""The provider's client, JSON and signatures."""

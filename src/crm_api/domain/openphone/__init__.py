"""OpenPhone (Quo): the client of its API, the words of its JSON, the proof of its webhooks."""

"""Call the API of OpenPhone (Quo), parse its JSON, and verify the signatures of its webhooks."""

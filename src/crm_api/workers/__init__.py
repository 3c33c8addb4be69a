"""Jobs in, domain calls out."""

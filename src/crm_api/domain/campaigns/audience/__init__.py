"""Audiences: select the people, read them, and store them as recipients."""

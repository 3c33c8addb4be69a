"""Audiences: select the contacts of a campaign, count them, and store them as recipients."""

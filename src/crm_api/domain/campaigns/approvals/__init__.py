"""Approval of campaigns by a person who did not write them."""

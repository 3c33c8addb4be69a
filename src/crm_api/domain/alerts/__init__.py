"""Alerts about problems that a person should see, and the mail that reports them."""

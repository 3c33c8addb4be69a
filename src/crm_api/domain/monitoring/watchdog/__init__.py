"""The watchdog: check the service once a minute, and raise and resolve alerts about problems."""

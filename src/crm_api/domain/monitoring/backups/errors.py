"""Errors of backups; the message is one line that says what to do."""

from crm_api.platform.processes import StartError


class BackupError(StartError):
    """A backup cannot be made or restored."""

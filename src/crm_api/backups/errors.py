"""What can go wrong with backups; the message is one line that says what to do."""

from crm_api.processes import StartError


class BackupError(StartError):
    """A backup can't be made or brought back."""

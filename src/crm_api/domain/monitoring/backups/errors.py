"""Errors of backups. The message of each error is one line: what is wrong, and what to do."""

from crm_api.platform.processes import StartError


class BackupError(StartError):
    """A backup cannot be made or restored, or a service cannot be moved to another database."""

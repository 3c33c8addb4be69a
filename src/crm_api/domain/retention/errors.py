"""What may go wrong with an archive."""

from crm_api.domain.errors import TransientError


class ArchiveNotKeptError(TransientError):
    """The store cannot be used, or does not give back what was written."""

    code = "archive_not_kept"
    title = "Archive not kept"

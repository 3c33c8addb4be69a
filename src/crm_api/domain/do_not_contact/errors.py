"""What can go wrong with do-not-contact uploads; files fail as those of imports do."""

from crm_api.domain.errors import ConflictError, InvalidError, NotFoundError


class UploadNotFoundError(NotFoundError):
    """No do-not-contact upload has this id."""

    code = "do_not_contact_upload_not_found"
    title = "Upload not found"


class UploadFinishedError(ConflictError):
    """The upload has ended and cannot be cancelled."""

    code = "do_not_contact_upload_finished"
    title = "Upload has ended"


class UploadOptionError(InvalidError):
    """A field of the form is wrong; ``errors`` names it."""

    code = "invalid_upload_option"
    title = "Invalid upload option"

"""Errors of do-not-contact uploads. Errors about the file itself are in ``imports/files``."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)


class UploadNotFoundError(NotFoundError):
    """No do-not-contact upload has this id."""

    code = "do_not_contact_upload_not_found"
    title = "Upload not found"
    detail = (
        "No do-not-contact upload has this id. GET /v1/do-not-contact-uploads lists the uploads."
    )


class UploadFinishedError(ConflictError):
    """The upload has ended and cannot be cancelled."""

    code = "do_not_contact_upload_finished"
    title = "Upload has ended"
    example = Example("completed")

    def __init__(self, status: str) -> None:
        super().__init__(
            f"The upload has already ended with the status `{status}`, so it cannot be cancelled.",
            upload_status=status,
        )


class UploadOptionError(InvalidError):
    """A field of the form is unknown or has an invalid value; ``errors`` names the field."""

    code = "invalid_upload_option"
    title = "Invalid upload option"
    example = Example(
        "1 field(s) are not valid; `errors` lists them.",
        errors=[
            FieldProblem(
                pointer="/reason",
                code="string_too_long",
                detail="String should have at most 200 characters",
            )
        ],
    )

"""Errors of background downloads of files, and errors that requests about files can return."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    TooLargeError,
    TransientError,
)
from crm_api.domain.kit.examples import example_id


class FetchError(Exception):
    """A background download failed. The worker stores the error in the row of the download.

    Attributes:
        code: A stable code, for example ``http_404`` or ``too_large``.
        detail: A sentence for people. It does not contain the URL.
        is_final: True if another attempt cannot succeed.
    """

    def __init__(self, code: str, detail: str, *, is_final: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.is_final = is_final


class MediaNotFoundError(NotFoundError):
    """No stored file has this id."""

    code = "media_not_found"
    title = "Media not found"
    detail = (
        "No stored file has this id. GET /v1/messages/{id} and GET /v1/calls/{id} give the ids "
        "of files as `media_id`."
    )


class MediaObjectMissingError(NotFoundError):
    """The database lists the file, but the media store does not contain it."""

    code = "media_object_missing"
    title = "Media object missing"
    detail = (
        "The media store does not contain this file, although the database lists it. Restore "
        "the store (CRM_MEDIA_URL) from a backup."
    )


class MediaStoreUnavailableError(TransientError):
    """The media store (a directory or an S3 bucket) cannot be read or written now."""

    code = "media_store_unavailable"
    title = "Media store unavailable"
    example = Example("ConnectError")

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The media store cannot be read or written now ({reason}). Try again later; if this "
            "persists, check CRM_MEDIA_URL."
        )


class MediaTooLargeError(TooLargeError):
    """The uploaded file is larger than a message can carry."""

    code = "media_too_large"
    title = "File too large"
    detail = "The file is larger than 5 MiB. Send a smaller picture."


class MediaFileMissingError(InvalidError):
    """The form contains no file, or the file is empty."""

    code = "media_file_missing"
    title = "File missing"
    pointer = "/file"
    detail = (
        "The form contains no file, or the file is empty. Send the picture in the form field "
        "`file`."
    )


class MediaTypeNotSendableError(InvalidError):
    """The uploaded file is not a JPEG, PNG or GIF picture, so some telephones may not show it."""

    code = "media_type_not_sendable"
    title = "Type of file not sendable"
    pointer = "/file"
    detail = "The file is not a JPEG, PNG or GIF picture. Convert it to one of these types."


class MediaNotSupportedError(InvalidError):
    """The provider cannot send files with a message."""

    code = "media_not_supported"
    title = "Files cannot be sent"
    pointer = "/media_ids"
    detail = (
        "OpenPhone's API sends text only, so the message was not sent. Leave out `media_ids`, "
        "or send the picture in OpenPhone's app."
    )


class UnknownMediaError(InvalidError):
    """A message names a file that was not uploaded, or that was uploaded too long ago."""

    code = "unknown_media"
    title = "Unknown file"
    example = Example(
        "No uploaded file has this id, or it was uploaded more than 7 days ago. Upload it again "
        "with POST /v1/media."
    )


class MediaFetchNotFoundError(NotFoundError):
    """No media fetch (download of a media file) has this id."""

    code = "media_fetch_not_found"
    title = "Media fetch not found"
    detail = "No media fetch has this id. GET /v1/media-fetches lists the fetches."


class MediaAlreadyStoredError(ConflictError):
    """The file was already downloaded and stored; ``media_id`` is the file's id."""

    code = "media_already_stored"
    title = "Media already stored"
    example = Example(example_id("media"))

    def __init__(self, media_id: str) -> None:
        super().__init__(
            "The file of this fetch is already stored, so it is not fetched again. Open it with "
            f"GET /v1/media/{media_id}.",
            media_id=media_id,
        )


class MediaLinkExpiredError(ForbiddenError):
    """The link to the file has expired."""

    code = "media_link_expired"
    title = "Link expired"
    example = Example("{media_id}")

    def __init__(self, media_id: str) -> None:
        super().__init__(
            "The link to this file has expired. Create a new link with POST "
            f"/v1/media/{media_id}/link."
        )


class MediaLinkInvalidError(ForbiddenError):
    """The signature of the link is wrong: the link was changed, or another service made it."""

    code = "media_link_invalid"
    title = "Link not valid"
    example = Example("{media_id}")

    def __init__(self, media_id: str) -> None:
        super().__init__(
            "The signature of this link is wrong: the link was changed or cut off. Create a new "
            f"link with POST /v1/media/{media_id}/link."
        )

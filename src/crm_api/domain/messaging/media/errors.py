"""Errors of media: of background fetches, and of requests."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    ForbiddenError,
    NotFoundError,
    TransientError,
)
from crm_api.domain.kit.examples import example_id


class FetchError(Exception):
    """A file could not be fetched or stored; the error is written to the row, not raised to users.

    Attributes:
        code: Stable, for example ``http_404`` or ``too_large``.
        detail: A sentence for a person, without the address.
        is_final: Another attempt would not help.
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


class MediaObjectMissingError(NotFoundError):
    """The file is known, but its object is missing in the store."""

    code = "media_object_missing"
    title = "Media object missing"
    example = Example(
        "The file is known here, but its object is not in the store; restore it from a backup "
        "of CRM_MEDIA_URL."
    )


class MediaStoreUnavailableError(TransientError):
    """The store of pictures and recordings cannot be used right now."""

    code = "media_store_unavailable"
    title = "Media store unavailable"
    example = Example("The store of pictures and recordings cannot be used (ConnectError).")


class MediaFetchNotFoundError(NotFoundError):
    """No fetch has this id."""

    code = "media_fetch_not_found"
    title = "Media fetch not found"


class MediaAlreadyStoredError(ConflictError):
    """The file is stored already; ``media_id`` names it."""

    code = "media_already_stored"
    title = "Media already stored"
    example = Example("The file is stored; nothing is left to fetch.", media_id=example_id("media"))


class MediaLinkExpiredError(ForbiddenError):
    """The link has expired."""

    code = "media_link_expired"
    title = "Link expired"
    example = Example("The link is over; ask for a new one with POST /v1/media/{media_id}/link.")


class MediaLinkInvalidError(ForbiddenError):
    """The link was changed, or was not made by this service."""

    code = "media_link_invalid"
    title = "Link not valid"
    example = Example(
        "The link was changed, or is not one of this service; ask for a new one with POST "
        "/v1/media/{media_id}/link."
    )

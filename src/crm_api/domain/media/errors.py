"""What can go wrong with media: in the background, and for a caller."""

from crm_api.domain.errors import ConflictError, ForbiddenError, NotFoundError, TransientError


class FetchError(Exception):
    """A file could not be fetched or kept; it ends in the row, never at a caller.

    Attributes:
        code: Stable, for example ``http_404`` or ``too_large``.
        detail: A sentence for a person, without the address.
        is_final: Trying again would not help.
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
    """The file is known, but its object is not in the store any more."""

    code = "media_object_missing"
    title = "Media object missing"


class MediaStoreUnavailableError(TransientError):
    """The store of pictures and recordings cannot be used right now."""

    code = "media_store_unavailable"
    title = "Media store unavailable"


class MediaFetchNotFoundError(NotFoundError):
    """No fetch has this id."""

    code = "media_fetch_not_found"
    title = "Media fetch not found"


class MediaAlreadyStoredError(ConflictError):
    """The file is stored; ``media_id`` says where."""

    code = "media_already_stored"
    title = "Media already stored"


class MediaLinkExpiredError(ForbiddenError):
    """The link was good, but not any more."""

    code = "media_link_expired"
    title = "Link expired"


class MediaLinkInvalidError(ForbiddenError):
    """The link was changed, or is not one of ours."""

    code = "media_link_invalid"
    title = "Link not valid"

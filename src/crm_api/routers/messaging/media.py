"""HTTP routes for stored pictures and recordings, and for their downloads from the provider."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from crm_api.domain.identity.api_keys.errors import MissingScopeError
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.messaging.media import service as media
from crm_api.domain.messaging.media.file_types import extension_of, is_shown_inline
from crm_api.domain.messaging.media.schemas import (
    LinkCreate,
    LinkRead,
    MediaFetchesRetried,
    MediaFetchRead,
    MediaFetchRetry,
)
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.messaging.models.media import FetchStatus, Media
from crm_api.platform import clock
from crm_api.routers.http import problems
from crm_api.routers.http.deps import IN_STATUS, Caller, Paging, State, Uow, authenticate, require
from crm_api.routers.http.preconditions import UnsatisfiableRangeError, wanted_range
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1", tags=["media"])
Reader = Annotated[Caller, require(Scope.MESSAGES_READ)]
Operator = Annotated[Caller, require(Scope.OPERATIONS)]

SAFE_HEADERS = {
    "accept-ranges": "bytes",
    # A browser must send a request each time it shows the file, so that access is checked. The
    # response usually has status 304 (not modified). No shared cache may store the file.
    "cache-control": "private, no-cache",
    # A stranger may have sent the file, so scripts in it must not run. All responses also have the
    # headers in ``middleware.SECURITY``, which forbid browsers to guess the type of a file and to
    # pass on its link.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}


_BYTES = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file, with its media type.", "content": _BYTES},
    206: {"description": "The requested byte range of the file.", "content": _BYTES},
    304: {"description": "The file has not changed since the version in `If-None-Match`."},
}


class Conditions(BaseModel):
    """Request headers that ask for a part of a file, or for the file only if it has changed."""

    range: str | None = Field(
        default=None,
        description="The bytes to return, such as `bytes=0-1023`.",
        examples=["bytes=0-65535"],
    )
    if_range: str | None = Field(
        default=None,
        description="The ETag that you received with an earlier part of the file. If the file has "
        "changed, the whole file is returned.",
        examples=['"4be81d7a2f0c95637fa0d5b64c1e2938"'],
    )
    if_none_match: str | None = Field(
        default=None,
        description="The ETag of the version that the client has. If this version is current, the "
        "response is 304 without the file.",
        examples=['"4be81d7a2f0c95637fa0d5b64c1e2938"'],
    )

    def has(self, etag: str) -> bool:
        """Return True if the client already has the version with this ETag.

        The result is True if the header ``If-None-Match`` contains ``etag`` or ``*``.
        """
        listed = (self.if_none_match or "").split(",")
        return not {"*", etag}.isdisjoint(one.strip().removeprefix("W/") for one in listed)

    def range_for(self, etag: str) -> str | None:
        """Return the header ``Range`` if it applies to the current version of the file.

        The result is None if ``Range`` is missing, or if ``If-Range`` names another version.
        """
        return self.range if self.if_range in {None, etag} else None


async def _store(request: Request) -> MediaStore:
    store: MediaStore = request.app.state.media
    return store


async def _may_open(
    media_id: UUID,
    request: Request,
    state: State,
    expires: Annotated[
        str | None,
        Query(
            description="When the link expires, in seconds since 1970.",
            examples=["1795667456"],
        ),
    ] = None,
    signature: Annotated[
        str | None,
        Query(
            description="The signature of the link.",
            examples=["rxBaTdXauytZVRvpwdIA0pXOz7aEWWcHu45-IdWAG4A"],
        ),
    ] = None,
) -> None:
    """Allow the request if it has a valid link to this file, or the scope ``messages:read``.

    Raises:
        MediaLinkExpiredError: The link has expired.
        MediaLinkInvalidError: The signature is wrong.
        UnauthenticatedError: The request has neither a link nor valid credentials.
        MissingScopeError: The caller has no link and lacks the scope.
    """
    if expires is not None or signature is not None:
        media.check_media_link(
            state.secret,
            media_id=media_id,
            expires=expires or "",
            signature=signature or "",
            now=clock.now(),
        )
        return
    caller = await authenticate(request)
    if not caller.may(Scope.MESSAGES_READ):
        needed = Scope.MESSAGES_READ
        raise MissingScopeError(
            f"This operation needs the scope {needed}. Use an API key or a user with this scope.",
            required_scope=needed.value,
        )


@router.get(
    "/media/{media_id}",
    response_class=StreamingResponse,
    dependencies=[Depends(_may_open)],
    responses=FILE,
    openapi_extra=fails_with(
        "api_key_expired",
        "api_key_revoked",
        "invalid_credentials",
        "media_link_expired",
        "media_link_invalid",
        "media_object_missing",
        "media_store_unavailable",
        "missing_credentials",
        "missing_scope",
        "range_not_satisfiable",
        "session_over",
    ),
)
async def open_media(
    media_id: UUID,
    request: Request,
    uow: Uow,
    store: Annotated[MediaStore, Depends(_store)],
    conditions: Annotated[Conditions, Header()],
) -> Response:
    """Download a stored picture, recording or other file, whole or in part.

    The request needs credentials with the scope `messages:read`, or the `expires` and `signature`
    of a link from `POST /v1/media/{id}/link`.
    """
    async with uow:
        found = await media.get_media(uow, media_id)
    etag = f'"{found.sha256}"'
    headers = {**SAFE_HEADERS, "etag": etag, "content-disposition": _disposition(found)}
    if conditions.has(etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    size, status = found.size_bytes, HTTPStatus.OK
    try:
        part = wanted_range(conditions.range_for(etag), size=size)
    except UnsatisfiableRangeError as error:
        return problems.problem(
            request,
            status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            code="range_not_satisfiable",
            title="Range not satisfiable",
            detail=str(error),
            headers={"content-range": f"bytes */{size}"},
        )
    start, end = part or (0, size)
    if part is not None:
        status = HTTPStatus.PARTIAL_CONTENT
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    headers["content-length"] = str(end - start)
    stream = await store.read(found.sha256, start=start, end=end)
    return StreamingResponse(stream, status, headers, media_type=found.content_type)


def _disposition(found: Media) -> str:
    how = "inline" if is_shown_inline(found.content_type) else "attachment"
    return f'{how}; filename="{found.id}{extension_of(found.content_type)}"'


@router.post("/media/{media_id}/link")
async def make_link(
    media_id: UUID, uow: Uow, state: State, _caller: Reader, body: LinkCreate | None = None
) -> LinkRead:
    """Create a link with which a browser can open a stored file without credentials.

    The link is valid for 10 minutes unless the body names another duration.
    """
    async with uow:
        found = await media.get_media(uow, media_id)
    url, expires_at = media.make_media_link(
        state.secret,
        media_id=found.id,
        base_url=state.settings.public_base_url,
        seconds=(body or LinkCreate()).expires_in_seconds,
        now=clock.now(),
    )
    return LinkRead(url=url, expires_at=expires_at)


@router.get("/media-fetches")
async def list_fetches(
    uow: Uow,
    page: Paging,
    _caller: Reader,
    status: Annotated[FetchStatus | None, IN_STATUS] = None,
    activity_id: Annotated[
        UUID | None, Query(description="Only the fetches of files of this message or call.")
    ] = None,
) -> PageRead[MediaFetchRead]:
    """List the fetches (downloads of media files from the provider), newest first."""
    async with uow:
        found = await media.list_fetches(
            uow, status=status, activity_id=activity_id, cursor=page.cursor, limit=page.limit
        )
    return PageRead.of(found, MediaFetchRead.model_validate)


@router.post("/media-fetches/retry", status_code=HTTPStatus.ACCEPTED)
async def retry_fetches(
    uow: Uow, _caller: Operator, body: MediaFetchRetry | None = None
) -> MediaFetchesRetried:
    """Restart all fetches (downloads of media files) that have a given status.

    The default status is `dead`: all attempts to download the file have failed. With `error_code`,
    only fetches that also have this error code are restarted.
    """
    wanted = body or MediaFetchRetry()
    async with uow:
        count = await media.retry_fetches(
            uow, status=wanted.status, error_code=wanted.error_code, now=clock.now()
        )
    return MediaFetchesRetried(retried=count)


@router.post(
    "/media-fetches/{fetch_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra=fails_with("media_already_stored"),
)
async def retry_fetch(fetch_id: UUID, uow: Uow, _caller: Operator) -> MediaFetchRead:
    """Start the download of a media file again, unless the file is already stored."""
    async with uow:
        fetch = await media.retry_fetch(uow, fetch_id=fetch_id, now=clock.now())
    return MediaFetchRead.model_validate(fetch)

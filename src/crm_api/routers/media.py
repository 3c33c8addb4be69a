"""Stored pictures and recordings, and what is still to be fetched."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from crm_api import clock
from crm_api.domain.access.errors import MissingScopeError
from crm_api.domain.access.models import Scope
from crm_api.domain.media import links
from crm_api.domain.media import service as media
from crm_api.domain.media.file_types import extension_of, is_shown_inline
from crm_api.domain.media.models import FetchStatus, Media
from crm_api.domain.media.schemas import LinkCreate, LinkRead, MediaFetchRead, RetryAll, RetryRead
from crm_api.domain.media.store import MediaStore
from crm_api.domain.schemas import PageRead
from crm_api.routers import problems
from crm_api.routers.byte_range import UnsatisfiableRangeError, wanted_range
from crm_api.routers.deps import Caller, Paging, State, Uow, authenticate, require

router = APIRouter(prefix="/v1", tags=["media"])
Reader = Annotated[Caller, require(Scope.MESSAGES_READ)]
Operator = Annotated[Caller, require(Scope.OPERATIONS)]

SAFE_HEADERS = {
    "accept-ranges": "bytes",
    # Who sees it again is asked again whether they may, and gets 304. No shared cache keeps it.
    "cache-control": "private, no-cache",
    # A file is somebody else's: it runs nothing. That it is shown as what it is, and that no page
    # learns its link, every answer says (``methods``).
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}


_BYTES = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file, with its own type.", "content": _BYTES},
    206: {"description": "The part that was asked for.", "content": _BYTES},
    304: {"description": "It is still as the ETag says."},
}


class Conditions(BaseModel):
    """What a request says of the file that it has already, and which part it wants."""

    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None

    def has(self, etag: str) -> bool:
        """True when the caller has the file as it is."""
        listed = (self.if_none_match or "").split(",")
        return not {"*", etag}.isdisjoint(one.strip().removeprefix("W/") for one in listed)

    def range_for(self, etag: str) -> str | None:
        """Return the part that is wanted of this file, unless it should be another one."""
        return self.range if self.if_range in {None, etag} else None


async def _store(request: Request) -> MediaStore:
    store: MediaStore = request.app.state.media
    return store


async def _may_open(
    media_id: UUID,
    request: Request,
    state: State,
    expires: Annotated[str | None, Query(description="Of a link.")] = None,
    signature: Annotated[str | None, Query(description="Of a link.")] = None,
) -> None:
    """Let pass who has a good link to this file, or a key that may read messages."""
    if expires is not None or signature is not None:
        links.check(
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
        raise MissingScopeError(f"This needs the scope {needed}.", required_scope=needed.value)


@router.get(
    "/media/{media_id}",
    response_class=StreamingResponse,
    dependencies=[Depends(_may_open)],
    responses=FILE,
)
async def open_media(
    media_id: UUID,
    request: Request,
    uow: Uow,
    store: Annotated[MediaStore, Depends(_store)],
    conditions: Annotated[Conditions, Header()],
) -> Response:
    """Read a stored picture or recording, whole or in part.

    Takes an API key with `messages:read`, or the link that `POST /v1/media/{id}/link` gives.
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
    """Make a link that a browser can open without a header, for ten minutes unless told."""
    async with uow:
        found = await media.get_media(uow, media_id)
    url, expires_at = links.make(
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
    status: FetchStatus | None = None,
    activity_id: UUID | None = None,
) -> PageRead[MediaFetchRead]:
    """List what is or was to be fetched, newest first; `activity_id` is a message's or call's."""
    async with uow:
        found = await media.list_fetches(
            uow, status=status, activity_id=activity_id, cursor=page.cursor, limit=page.limit
        )
    return PageRead(
        data=[MediaFetchRead.model_validate(row) for row in found.data],
        next_cursor=found.next_cursor,
    )


@router.post("/media-fetches/retry", status_code=HTTPStatus.ACCEPTED)
async def retry_fetches(uow: Uow, _caller: Operator, body: RetryAll | None = None) -> RetryRead:
    """Let all fetches of a status begin anew: the dead ones, unless told."""
    wanted = body or RetryAll()
    async with uow:
        count = await media.retry_all(
            uow, status=wanted.status, error_code=wanted.error_code, now=clock.now()
        )
    return RetryRead(retried=count)


@router.post("/media-fetches/{fetch_id}/retry", status_code=HTTPStatus.ACCEPTED)
async def retry_fetch(fetch_id: UUID, uow: Uow, _caller: Operator) -> MediaFetchRead:
    """Let one fetch begin anew, whatever became of it."""
    async with uow:
        fetch = await media.retry(uow, fetch_id=fetch_id, now=clock.now())
    return MediaFetchRead.model_validate(fetch)

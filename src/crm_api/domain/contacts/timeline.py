"""What happened with one person, as items of one timeline."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter
from sqlalchemy import Row
from typing_extensions import TypeAliasType

from crm_api.db import UnitOfWork
from crm_api.domain.consent import service as consent
from crm_api.domain.contacts import timeline_queries
from crm_api.domain.contacts.service import get, numbers_of
from crm_api.domain.media import service as media
from crm_api.domain.media.queries import ShownFetch
from crm_api.domain.media.schemas import names_files, show, show_call
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.schemas import Id, Instant, ReadModel

_END_OF_TIME = (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))


class TimelineMessage(ReadModel):
    """A text, received or sent."""

    id: str
    type: Literal["message"]
    at: Instant
    direction: str | None
    origin: str
    body: str | None
    media: list[Any]
    status: str
    error_code: str | None
    line_id: Id | None
    conversation_id: Id | None
    campaign_id: Id | None


class TimelineCall(ReadModel):
    """A call; ``call`` holds its recordings, voicemail, summary and transcript as far as known."""

    id: str
    type: Literal["call"]
    at: Instant
    direction: str | None
    status: str
    line_id: Id | None
    conversation_id: Id | None
    call: dict[str, Any]


class TimelineConsent(ReadModel):
    """A decision about texts to the number."""

    id: str
    type: Literal["opt_out", "opt_in", "hold", "release"]
    at: Instant
    source: str
    actor: str
    reason: str | None
    note: str | None
    activity_id: Id | None


class TimelineStep(ReadModel):
    """A step of a campaign; ``at`` is when its text was accepted, else when it was planned."""

    id: str
    type: Literal["campaign_step"]
    at: Instant
    campaign_id: Id
    campaign_name: str
    step: int
    status: str
    skip_reason: str | None
    error_code: str | None
    delivered_at: Instant | None
    replied_at: Instant | None


class TimelineNote(ReadModel):
    """A note that a colleague wrote."""

    id: str
    type: Literal["note"]
    at: Instant
    author: str
    body: str
    pinned: bool
    updated_at: Instant


TimelineItem = TypeAliasType(
    "TimelineItem",
    Annotated[
        TimelineMessage | TimelineCall | TimelineConsent | TimelineStep | TimelineNote,
        Field(discriminator="type"),
    ],
)

_ITEM: TypeAdapter[TimelineItem] = TypeAdapter(TimelineItem)


async def timeline(
    uow: UnitOfWork,
    *,
    contact_id: UUID,
    secret: bytes,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[TimelineItem]:
    """List what happened with a contact, newest first.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
        InvalidCursorError: The cursor is not one of this list's.
    """
    contact = (await get(uow, contact_id=contact_id, now=now)).contact
    phones = await numbers_of(uow, contact_id=contact.id)
    cursors = Cursors("timeline", contact_id=contact.id)
    rows = await timeline_queries.timeline(
        uow.session,
        contact_id=contact.id,
        phones=phones,
        phone_hashes=[consent.hash_phone(phone, secret) for phone in phones],
        after=cursors.read(cursor) or _END_OF_TIME,
        limit=limit + 1,
    )
    page = cursors.page(rows, limit=limit, position=lambda row: (row.at, row.key))
    named = [
        row.key
        for row in page.data
        if names_files(row.detail.get("media", ()), row.detail.get("call", {}))
    ]
    files = await media.shown_of(uow, activity_ids=named)
    items = [_read_item(row, files.get(row.key, ())) for row in page.data]
    return Page(items, page.next_cursor)


def _read_item(row: Row[Any], files: Sequence[ShownFetch]) -> TimelineItem:
    detail = dict(row.detail)
    if "media" in detail:
        detail["media"] = show(detail["media"], files)
        detail["call"] = show_call(detail["call"], files)
    return _ITEM.validate_python({"id": row.id, "type": row.type, "at": row.at, **detail})

"""List what happened with a contact (messages, calls, notes, sales and so on), newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypeAliasType

from crm_api.domain.consent.models import ConsentSource, hash_phone
from crm_api.domain.kit.examples import REPLY, example, example_id
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.media import service as media
from crm_api.domain.messaging.media.schemas import names_files, show, show_call
from crm_api.domain.messaging.media.service import ShownFetch
from crm_api.domain.messaging.models.timeline import Direction, MessageStatus, Origin
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus, SkipReason
from crm_api.domain.people.contacts.service import fetch_numbers, get_contact
from crm_api.domain.people.contacts.timeline_sales import (
    SALES_ENTRIES,
    TimelineAppointment,
    TimelineInvoice,
    TimelineOutcome,
    TimelineQuote,
)
from crm_api.platform.database import UnitOfWork, typed_rows

_END_OF_TIME = (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))


class TimelineMessage(ReadModel):
    """A message that was received or sent.

    Attributes:
        at: When the message was received or sent.
        body: The text of the message; null if the message has no text.
        media: The pictures and other files of the message.
    """

    model_config = example(id=example_id("message"), origin="provider", body=REPLY, media=[])

    id: str
    type: Literal["message"]
    at: Instant
    direction: Annotated[str, Vocabulary(Direction)] | None
    origin: Annotated[str, Vocabulary(Origin, "MessageOrigin")]
    body: str | None
    media: list[Any]
    status: Annotated[str, Vocabulary(MessageStatus)]
    error_code: str | None
    line_id: Id | None
    conversation_id: Id | None
    campaign_id: Id | None


class TimelineCall(ReadModel):
    """A phone call with the contact.

    Attributes:
        at: When the call took place.
        status: The status of the phone call, with the name that the provider uses, such as
            `completed`.
        call: The recordings, voicemail, summary and transcript of the call, if they are known.
    """

    id: str
    type: Literal["call"]
    at: Instant
    direction: Annotated[str, Vocabulary(Direction)] | None
    status: str
    line_id: Id | None
    conversation_id: Id | None
    call: dict[str, Any]


class TimelineConsent(ReadModel):
    """A consent decision about the contact's phone number.

    Attributes:
        at: When the decision was made.
        source: How the decision was made.
        activity_id: The id of the message or phone call that the decision refers to; null if the
            decision refers to no message or phone call.
    """

    id: str
    type: Literal["opt_out", "opt_in", "hold", "release"]
    at: Instant
    source: Annotated[str, Vocabulary(ConsentSource)]
    actor: str
    reason: str | None
    note: str | None
    activity_id: Id | None


class TimelineStep(ReadModel):
    """One message of a campaign to the contact: sent, skipped, or still waiting.

    Attributes:
        at: When the message was accepted by the provider or skipped; otherwise, when the contact
            became a recipient.
        campaign_id: The id of the campaign.
        campaign_name: The name of the campaign.
        step: The position in the campaign: 0 is the first message, 1 the first follow-up.
        skip_reason: Why the message was skipped; null unless it was skipped.
        delivered_at: When the message was delivered; null until then.
        replied_at: When the person replied; null until then.
    """

    id: str
    type: Literal["campaign_step"]
    at: Instant
    campaign_id: Id
    campaign_name: str
    step: int
    status: Annotated[str, Vocabulary(MembershipStatus)]
    skip_reason: Annotated[str, Vocabulary(SkipReason)] | None
    error_code: str | None
    delivered_at: Instant | None
    replied_at: Instant | None


class TimelineNote(ReadModel):
    """A note about the contact.

    Attributes:
        at: When the note was written.
        author: Who wrote the note: the name of an API key, or the e-mail address of a user.
        body: The text of the note.
    """

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
        TimelineMessage
        | TimelineCall
        | TimelineConsent
        | TimelineStep
        | TimelineNote
        | TimelineAppointment
        | TimelineQuote
        | TimelineInvoice
        | TimelineOutcome,
        Field(discriminator="type"),
    ],
)

_ITEM: TypeAdapter[TimelineItem] = TypeAdapter(TimelineItem)


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """An item of the timeline. The field ``key`` orders items that have the same instant."""

    key: UUID
    id: str
    type: str
    at: datetime
    detail: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TimelineParts:
    """Which parts of the timeline the caller may see, in addition to the basic parts.

    The basic parts need only the scope ``contacts:read``.

    Attributes:
        sales: True if the caller may see appointments, quotes and invoices.
        outcomes: True if the caller may see outcomes, such as a finished job.
    """

    sales: bool
    outcomes: bool


ALL_PARTS = TimelineParts(sales=True, outcomes=True)


async def list_timeline(
    uow: UnitOfWork,
    *,
    contact_id: UUID,
    secret: bytes,
    cursor: str | None,
    limit: int,
    now: datetime,
    shows: TimelineParts = ALL_PARTS,
) -> Page[TimelineItem]:
    """List the timeline of a contact and of the duplicates merged into it, newest first.

    The instant of an appointment is its start, so future appointments come first.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        InvalidCursorError: The cursor does not belong to this list.
    """
    contact = (await get_contact(uow, contact_id=contact_id, now=now)).contact
    phones = await fetch_numbers(uow.session, contact_id=contact.id)
    cursors = Cursors("timeline", contact_id=contact.id)
    rows = await fetch_timeline(
        uow.session,
        contact_id=contact.id,
        phones=phones,
        phone_hashes=[hash_phone(phone, secret) for phone in phones],
        after=cursors.read(cursor) or _END_OF_TIME,
        limit=limit + 1,
        shows=shows,
    )
    page = cursors.page(rows, limit=limit, position=lambda row: (row.at, row.key))
    named = [
        row.key
        for row in page.data
        if names_files(row.detail.get("media", ()), row.detail.get("call", {}))
    ]
    files = await media.read_shown_fetches(uow, activity_ids=named)
    items = [_read_item(row, files.get(row.key, ())) for row in page.data]
    return Page(items, page.next_cursor)


def _read_item(row: TimelineRow, files: Sequence[ShownFetch]) -> TimelineItem:
    detail = dict(row.detail)
    if "media" in detail:
        detail["media"] = show(detail["media"], files)
        detail["call"] = show_call(detail["call"], files)
    return _ITEM.validate_python({"id": row.id, "type": row.type, "at": row.at, **detail})


# The id of a consent entry is an integer. It is converted to a UUID, because the sort keys of all
# timeline items must have the same type.
_TIMELINE = text(f"""
    SELECT * FROM (
        (SELECT a.id AS key, a.id::text AS id, a.kind AS type, a.occurred_at AS at,
                jsonb_build_object(
                    'direction', a.direction, 'origin', a.origin, 'body', a.body,
                    'status', a.status, 'error_code', a.error_code, 'line_id', a.line_id,
                    'campaign_id', a.campaign_id, 'conversation_id', a.conversation_id,
                    'media', a.media, 'call', a.call) AS detail
         FROM activity a
         WHERE a.contact_id = :contact_id AND (a.occurred_at, a.id) < (:at, :key)
         ORDER BY a.occurred_at DESC, a.id DESC LIMIT :limit)
        UNION ALL
        (SELECT e.key, e.id::text, e.action, e.created_at,
                jsonb_build_object(
                    'source', e.source, 'actor', e.actor, 'reason', w.reason, 'note', w.note,
                    'activity_id', e.activity_id)
         FROM (
             SELECT e.*, lpad(to_hex(e.id), 32, '0')::uuid AS key
             FROM consent_entry e WHERE e.phone_hash = ANY(:phone_hashes)
         ) e
         LEFT JOIN consent_wording w ON w.entry_id = e.id
         WHERE (e.created_at, e.key) < (:at, :key)
         ORDER BY e.created_at DESC, e.key DESC LIMIT :limit)
        UNION ALL
        (SELECT m.id, m.id::text, 'campaign_step', m.at,
                jsonb_build_object(
                    'campaign_id', m.campaign_id, 'campaign_name', c.name, 'step', m.step,
                    'status', m.status, 'skip_reason', m.skip_reason,
                    'error_code', m.error_code, 'delivered_at', m.delivered_at,
                    'replied_at', m.replied_at)
         FROM (
             SELECT m.*, coalesce(m.sent_at, m.skipped_at, m.created_at) AS at
             FROM campaign_membership m
             WHERE m.phone = ANY(CAST(:phones AS text[])) AND m.contact_id IN (
                 SELECT CAST(:contact_id AS uuid)
                 UNION ALL SELECT d.id FROM contact d WHERE d.merged_into = :contact_id)
         ) m
         JOIN campaign c ON c.id = m.campaign_id
         WHERE (m.at, m.id) < (:at, :key)
         ORDER BY m.at DESC, m.id DESC LIMIT :limit)
        UNION ALL
        (SELECT n.id, n.id::text, 'note', n.created_at,
                jsonb_build_object(
                    'author', n.author, 'body', n.body, 'pinned', n.is_pinned,
                    'updated_at', n.updated_at)
         FROM contact_note n
         WHERE n.contact_id = :contact_id AND (n.created_at, n.id) < (:at, :key)
         ORDER BY n.created_at DESC, n.id DESC LIMIT :limit)
        UNION ALL {SALES_ENTRIES}
    ) item
    ORDER BY at DESC, key DESC LIMIT :limit
""")


async def fetch_timeline(
    session: AsyncSession,
    *,
    contact_id: UUID,
    phones: Sequence[str],
    phone_hashes: Sequence[bytes],
    after: tuple[datetime, UUID],
    limit: int,
    shows: TimelineParts = ALL_PARTS,
) -> list[TimelineRow]:
    """Fetch up to ``limit`` items of a contact's timeline after a position, newest first.

    The position ``after`` is the instant and the id of the last item of the previous page.
    """
    at, key = after
    values = {
        "contact_id": contact_id,
        "phones": list(phones),
        "phone_hashes": list(phone_hashes),
        "at": at,
        "key": key,
        "limit": limit,
        "with_sales": shows.sales,
        "with_outcomes": shows.outcomes,
    }
    return typed_rows(TimelineRow, await session.execute(_TIMELINE, values))

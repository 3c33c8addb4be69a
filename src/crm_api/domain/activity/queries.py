"""All SQL on conversations and the timeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, literal_column, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.activity.models import Activity, ActivityKind, Conversation, Origin
from crm_api.domain.consent.models import ContactFlag
from crm_api.ids import new_id

Position = tuple[datetime, UUID]
"""Where a page continues: after the row with this time and id."""


@dataclass(frozen=True, kw_only=True)
class KnownCall:
    """What is stored of a call, its row locked."""

    id: UUID
    line_id: UUID | None
    contact_id: UUID | None
    rank: int
    status: str
    call: dict[str, Any]
    occurred_at: datetime


# Hot statements are built once: to build one costs more than to run it.

TOUCH_CONVERSATION = text("""
    INSERT INTO conversation AS known
        (id, line_id, phone, contact_id, openphone_id, last_activity_at, created_at)
    VALUES (:id, :line_id, :phone, :contact_id, :openphone_id, :at, :now)
    ON CONFLICT (line_id, phone) DO UPDATE
       SET contact_id = coalesce(known.contact_id, excluded.contact_id),
           openphone_id = coalesce(known.openphone_id, excluded.openphone_id),
           last_activity_at = greatest(known.last_activity_at, excluded.last_activity_at)
    RETURNING id
""")

# A row that this statement inserted has no deleting transaction; one that it updated has.
ADD_INCOMING = text("""
    INSERT INTO activity AS known
        (id, kind, direction, origin, line_id, conversation_id, contact_id, phone, openphone_id,
         user_id, body, media, status, call, occurred_at, created_at, updated_at)
    VALUES (:id, 'message', 'incoming', 'provider', :line_id, :conversation_id, :contact_id,
            :phone, :openphone_id, :user_id, :body, :media, 'received', :call, :occurred_at, :now,
            :now)
    ON CONFLICT (openphone_id) WHERE openphone_id IS NOT NULL DO UPDATE
       SET user_id = coalesce(known.user_id, excluded.user_id),
           media = coalesce(nullif(known.media, '[]'::jsonb), excluded.media)
    RETURNING id, xmax = 0 AS is_new
""").bindparams(bindparam("media", type_=JSONB), bindparam("call", type_=JSONB))

_OF_CALL = "id, line_id, contact_id, rank, status, call, occurred_at"
LOCK_CALL = text(f"SELECT {_OF_CALL} FROM activity WHERE openphone_id = :openphone_id FOR UPDATE")
ADD_CALL = text(f"""
    INSERT INTO activity (id, kind, origin, openphone_id, status, occurred_at, created_at,
        updated_at)
    VALUES (:id, 'call', 'provider', :openphone_id, 'unknown', :now, :now, :now)
    ON CONFLICT (openphone_id) WHERE openphone_id IS NOT NULL DO NOTHING
    RETURNING {_OF_CALL}
""")
# The outside party and the conversation are known from some events only.
SAVE_CALL = text("""
    UPDATE activity
       SET call = :call, rank = :rank, status = :status, direction = :direction,
           user_id = :user_id, occurred_at = :occurred_at, line_id = :line_id,
           contact_id = :contact_id, phone = coalesce(:phone, phone),
           conversation_id = coalesce(:conversation_id, conversation_id), updated_at = :now
     WHERE id = :id
       AND (call, rank, status, direction, user_id, occurred_at, line_id, contact_id, phone,
            conversation_id) IS DISTINCT FROM
           (:call, :rank, :status, :direction, :user_id, :occurred_at, :line_id, :contact_id,
            coalesce(:phone, phone), coalesce(:conversation_id, conversation_id))
""").bindparams(bindparam("call", type_=JSONB))

FIND_CONTACT = text("SELECT id FROM contact WHERE phone = :phone AND deleted_at IS NULL")

# Told before somebody was a contact: a text or a call to a number that nobody knew yet.
ADOPT = text("""
    WITH told AS MATERIALIZED (
        SELECT a.id, a.contact_id FROM line l
        JOIN conversation c ON c.line_id = l.id AND c.phone = :phone
        JOIN activity a ON a.conversation_id = c.id
    )
    UPDATE activity a SET contact_id = :contact_id FROM told
    WHERE a.id = told.id AND told.contact_id IS NULL
""")


async def touch_conversation(
    session: AsyncSession,
    *,
    line_id: UUID,
    phone: str,
    contact_id: UUID | None,
    openphone_id: str | None,
    at: datetime,
    now: datetime,
) -> UUID:
    """Find or open the conversation; its last activity only moves forward."""
    values = {
        "id": new_id(),
        "line_id": line_id,
        "phone": phone,
        "contact_id": contact_id,
        "openphone_id": openphone_id,
        "at": at,
        "now": now,
    }
    found: UUID = (await session.execute(TOUCH_CONVERSATION, values)).scalar_one()
    return found


async def add_incoming(session: AsyncSession, **values: Any) -> tuple[UUID, bool]:  # noqa: ANN401 - bind values
    """Store a received text once, by the provider's id.

    One that is known already only gains what it lacks.

    Returns:
        The row's id, and whether it is new.
    """
    row = (await session.execute(ADD_INCOMING, {"id": new_id(), **values})).one()
    return row.id, row.is_new


async def set_campaign(session: AsyncSession, *, activity_id: UUID, campaign_id: UUID) -> None:
    """Tie a received text to the campaign that it answers."""
    await session.execute(
        update(Activity).where(Activity.id == activity_id).values(campaign_id=campaign_id)
    )


async def lock_call(session: AsyncSession, *, provider_call_id: str, now: datetime) -> KnownCall:
    """Fetch what is known of a call and lock its row; an empty one is made when none is there."""
    values = {"openphone_id": provider_call_id}
    while True:
        row = (await session.execute(LOCK_CALL, values)).one_or_none()
        if row is None:
            added = await session.execute(ADD_CALL, {"id": new_id(), "now": now, **values})
            row = added.one_or_none()
        if row is not None:
            return KnownCall(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name begins so
        # Somebody else has made it meanwhile: now it can be locked.


async def save_call(
    session: AsyncSession, *, activity_id: UUID, values: dict[str, Any], now: datetime
) -> None:
    """Write what is known of a call now; what tells nothing new changes no row."""
    await session.execute(SAVE_CALL, {"id": activity_id, "now": now, **values})


async def find_contact(session: AsyncSession, *, phone: str) -> UUID | None:
    """Return the contact with this number, if there is one."""
    found: UUID | None = await session.scalar(FIND_CONTACT, {"phone": phone})
    return found


async def adopt(session: AsyncSession, *, phone: str, contact_id: UUID) -> None:
    """Give a new contact what is on the timeline of the number already."""
    await session.execute(ADOPT, {"phone": phone, "contact_id": contact_id})


async def has_flag(
    session: AsyncSession, *, phone: str, flags: Sequence[str], now: datetime
) -> bool:
    """Say whether one of the flags stands on the number."""
    query = select(ContactFlag.id).where(
        ContactFlag.phone == phone,
        ContactFlag.flag_type.in_(flags),
        or_(ContactFlag.expires_at.is_(None), ContactFlag.expires_at > now),
    )
    return (await session.execute(query.limit(1))).first() is not None


async def has_recent(
    session: AsyncSession, *, conversation_id: UUID, origin: Origin, since: datetime
) -> bool:
    """Say whether a text of this origin is in the conversation since then."""
    query = select(Activity.id).where(
        Activity.conversation_id == conversation_id,
        Activity.origin == origin.value,
        Activity.occurred_at > since,
    )
    return (await session.execute(query.limit(1))).first() is not None


async def get_conversation(session: AsyncSession, conversation_id: UUID) -> Conversation | None:
    """Fetch one conversation."""
    return await session.get(Conversation, conversation_id)


async def get_activity(
    session: AsyncSession, activity_id: UUID, *, kind: ActivityKind
) -> Activity | None:
    """Fetch one message or one call."""
    query = select(Activity).where(Activity.id == activity_id, Activity.kind == kind.value)
    return (await session.scalars(query)).one_or_none()


async def list_conversations(
    session: AsyncSession,
    *,
    line_id: UUID | None,
    contact_id: UUID | None,
    phone: str | None,
    after: Position | None,
    limit: int,
) -> list[Conversation]:
    """Fetch a page of conversations, the last active first."""
    query: Select[tuple[Conversation]] = select(Conversation)
    if line_id is not None:
        query = query.where(Conversation.line_id == line_id)
    if contact_id is not None:
        query = query.where(Conversation.contact_id == contact_id)
    if phone is not None:
        query = query.where(Conversation.phone == phone)
    if after is not None:
        query = query.where(tuple_(Conversation.last_activity_at, Conversation.id) < after)
    query = query.order_by(Conversation.last_activity_at.desc(), Conversation.id.desc())
    return list(await session.scalars(query.limit(limit)))


async def list_messages(
    session: AsyncSession, *, conversation_id: UUID, after: Position | None, limit: int
) -> list[Activity]:
    """Fetch a page of a conversation's messages, newest first."""
    query = select(Activity).where(
        Activity.conversation_id == conversation_id, Activity.kind == ActivityKind.MESSAGE.value
    )
    return await _newest(session, query, after=after, limit=limit)


async def list_calls(
    session: AsyncSession, *, after: Position | None, limit: int
) -> list[Activity]:
    """Fetch a page of calls, newest first."""
    query = select(Activity).where(literal_column("activity.kind = 'call'"))
    return await _newest(session, query, after=after, limit=limit)


async def _newest(
    session: AsyncSession, query: Select[Activity], *, after: Position | None, limit: int
) -> list[Activity]:
    if after is not None:
        query = query.where(tuple_(Activity.occurred_at, Activity.id) < after)
    query = query.order_by(Activity.occurred_at.desc(), Activity.id.desc()).limit(limit)
    return list(await session.scalars(query))

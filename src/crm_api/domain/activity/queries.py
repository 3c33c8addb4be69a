"""All SQL on conversations and the timeline."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, literal_column, or_, select, text, tuple_
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
    openphone_id: str
    line_id: UUID | None
    contact_id: UUID | None
    rank: int
    status: str
    call: dict[str, Any]
    occurred_at: datetime
    direction: str | None
    user_id: str | None
    phone: str | None
    conversation_id: UUID | None


# Hot statements are built once: to build one costs more than to run it.

ADD_INCOMING = text("""
    WITH told AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:line_ids AS uuid[]), CAST(:conversation_ids AS uuid[]),
            CAST(:contact_ids AS uuid[]), CAST(:phones AS text[]), CAST(:openphone_ids AS text[]),
            CAST(:user_ids AS text[]), CAST(:bodies AS text[]), CAST(:medias AS text[]),
            CAST(:calls AS text[]), CAST(:occurred AS timestamptz[]))
            AS told (id, line_id, conversation_id, contact_id, phone, openphone_id, user_id, body,
                     media, call, occurred_at)
    ), named AS (
        INSERT INTO activity_key (openphone_id, activity_id)
        SELECT openphone_id, id FROM told ORDER BY openphone_id
        ON CONFLICT (openphone_id) DO NOTHING
        RETURNING activity_id
    )
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        openphone_id, user_id, body, media, status, call, occurred_at, created_at, updated_at)
    SELECT told.id, 'message', 'incoming', 'provider', line_id, conversation_id, contact_id, phone,
           openphone_id, user_id, body, media::jsonb, 'received', call::jsonb, occurred_at, :now,
           :now
      FROM told JOIN named ON named.activity_id = told.id
    RETURNING openphone_id, id
""")
# After it, in a statement of its own: what was stored meanwhile is not seen by the one before.
FILL_INCOMING = text("""
    UPDATE activity known
       SET user_id = coalesce(known.user_id, told.user_id),
           media = coalesce(nullif(known.media, '[]'::jsonb), told.media::jsonb)
      FROM unnest(CAST(:openphone_ids AS text[]), CAST(:user_ids AS text[]),
                  CAST(:medias AS text[])) AS told (openphone_id, user_id, media)
      JOIN activity_key k ON k.openphone_id = told.openphone_id
     WHERE known.id = k.activity_id
    RETURNING told.openphone_id, known.id
""")

LOCK_CALLS = text("""
    SELECT a.id, a.openphone_id, line_id, contact_id, rank, status, call, occurred_at, direction,
           user_id, phone, conversation_id
      FROM activity_key k JOIN activity a ON a.id = k.activity_id
     WHERE k.openphone_id = ANY(CAST(:openphone_ids AS text[]))
     ORDER BY k.openphone_id FOR UPDATE OF a
""")
ADD_CALLS = text("""
    WITH named AS (
        INSERT INTO activity_key (openphone_id, activity_id)
        SELECT openphone_id, id
          FROM unnest(CAST(:ids AS uuid[]), CAST(:openphone_ids AS text[]))
            AS told (id, openphone_id)
         ORDER BY openphone_id
        ON CONFLICT (openphone_id) DO NOTHING
        RETURNING openphone_id, activity_id
    )
    INSERT INTO activity (id, kind, origin, openphone_id, status, occurred_at, created_at,
        updated_at)
    SELECT activity_id, 'call', 'provider', openphone_id, 'unknown', :now, :now, :now FROM named
""")
# The outside party and the conversation are known from some events only. A call that nothing new
# is told of is not written.
SAVE_CALLS = text("""
    UPDATE activity a
       SET call = x.call, rank = x.rank, status = x.status, direction = x.direction,
           user_id = x.user_id, occurred_at = x.occurred_at, line_id = x.line_id,
           contact_id = x.contact_id, phone = x.phone, conversation_id = x.conversation_id,
           updated_at = :now
      FROM (SELECT id, call::jsonb AS call, rank, status, direction, user_id, occurred_at, line_id,
                   contact_id, phone, conversation_id
              FROM unnest(CAST(:ids AS uuid[]), CAST(:calls AS text[]), CAST(:ranks AS smallint[]),
                          CAST(:statuses AS text[]), CAST(:directions AS text[]),
                          CAST(:user_ids AS text[]), CAST(:occurred AS timestamptz[]),
                          CAST(:line_ids AS uuid[]), CAST(:contact_ids AS uuid[]),
                          CAST(:phones AS text[]), CAST(:conversation_ids AS uuid[]))
                AS told (id, call, rank, status, direction, user_id, occurred_at, line_id,
                         contact_id, phone, conversation_id)) x
     WHERE a.id = x.id
       AND (a.call, a.rank, a.status, a.direction, a.user_id, a.occurred_at, a.line_id,
            a.contact_id, a.phone, a.conversation_id) IS DISTINCT FROM
           (x.call, x.rank, x.status, x.direction, x.user_id, x.occurred_at, x.line_id,
            x.contact_id, x.phone, x.conversation_id)
""")

# Whoever was merged is found by the number as well. The lock makes a merge wait that would move
# what the number has, and so miss what is being told now.
FIND_CONTACTS = text("""
    SELECT phone, coalesce(merged_into, id) AS id FROM contact
     WHERE phone = ANY(CAST(:phones AS text[]))
       AND (deleted_at IS NULL OR merged_into IS NOT NULL)
     ORDER BY phone FOR KEY SHARE
""")
SET_CAMPAIGNS = text("""
    UPDATE activity a SET campaign_id = x.campaign_id
      FROM unnest(CAST(:ids AS uuid[]), CAST(:campaign_ids AS uuid[])) AS x (id, campaign_id)
     WHERE a.id = x.id
""")
FIND_CONTACT = text("""
    SELECT coalesce(merged_into, id) FROM contact
     WHERE phone = :phone AND (deleted_at IS NULL OR merged_into IS NOT NULL)
     FOR KEY SHARE
""")

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


async def add_incoming(
    session: AsyncSession, rows: Sequence[dict[str, Any]], *, now: datetime
) -> dict[str, tuple[UUID, bool]]:
    """Store received texts once each, by the provider's id; no id may be in two rows.

    One that is known already only gains what it lacks.

    Returns:
        For each provider's id the row's, and whether it is new.
    """
    stored: dict[str, tuple[UUID, bool]] = {}
    left = rows
    while left:
        added = await session.execute(ADD_INCOMING, _told(left, now=now))
        stored |= {row.openphone_id: (row.id, True) for row in added}
        left = [row for row in left if row["openphone_id"] not in stored]
        if left:
            values = {
                "openphone_ids": [row["openphone_id"] for row in left],
                "user_ids": [row["user_id"] for row in left],
                "medias": [json.dumps(row["media"]) for row in left],
            }
            filled = await session.execute(FILL_INCOMING, values)
            stored |= {row.openphone_id: (row.id, False) for row in filled}
            # One that was taken away meanwhile is new after all.
            left = [row for row in left if row["openphone_id"] not in stored]
    return stored


def _told(rows: Sequence[dict[str, Any]], *, now: datetime) -> dict[str, Any]:
    return {
        "ids": [new_id() for _ in rows],
        "line_ids": [row["line_id"] for row in rows],
        "conversation_ids": [row["conversation_id"] for row in rows],
        "contact_ids": [row["contact_id"] for row in rows],
        "phones": [row["phone"] for row in rows],
        "openphone_ids": [row["openphone_id"] for row in rows],
        "user_ids": [row["user_id"] for row in rows],
        "bodies": [row["body"] for row in rows],
        "medias": [json.dumps(row["media"]) for row in rows],
        "calls": [json.dumps(row["call"]) for row in rows],
        "occurred": [row["occurred_at"] for row in rows],
        "now": now,
    }


async def set_campaigns(session: AsyncSession, campaigns: Mapping[UUID, UUID]) -> None:
    """Tie received texts to the campaigns that they answer."""
    values = {"ids": list(campaigns), "campaign_ids": list(campaigns.values())}
    await session.execute(SET_CAMPAIGNS, values)


async def lock_calls(
    session: AsyncSession, *, provider_call_ids: Collection[str], now: datetime
) -> dict[str, KnownCall]:
    """Fetch what is known of calls and lock their rows; empty ones are made where none are."""
    wanted = sorted(provider_call_ids)
    known: dict[str, KnownCall] = {}
    while True:
        rows = await session.execute(LOCK_CALLS, {"openphone_ids": wanted})
        known |= {row.openphone_id: KnownCall(**row._mapping) for row in rows}  # noqa: SLF001 - SQLAlchemy's public name begins so
        missing = [name for name in wanted if name not in known]
        if not missing:
            return known
        values = {"ids": [new_id() for _ in missing], "openphone_ids": missing, "now": now}
        await session.execute(ADD_CALLS, values)


async def save_calls(session: AsyncSession, calls: Sequence[KnownCall], *, now: datetime) -> None:
    """Write what is known of calls now; what tells nothing new changes no row."""
    values = {
        "ids": [call.id for call in calls],
        "calls": [json.dumps(call.call) for call in calls],
        "ranks": [call.rank for call in calls],
        "statuses": [call.status for call in calls],
        "directions": [call.direction for call in calls],
        "user_ids": [call.user_id for call in calls],
        "occurred": [call.occurred_at for call in calls],
        "line_ids": [call.line_id for call in calls],
        "contact_ids": [call.contact_id for call in calls],
        "phones": [call.phone for call in calls],
        "conversation_ids": [call.conversation_id for call in calls],
        "now": now,
    }
    await session.execute(SAVE_CALLS, values)


async def find_contacts(session: AsyncSession, *, phones: Sequence[str]) -> dict[str, UUID]:
    """Return the contacts with these numbers, by number."""
    rows = await session.execute(FIND_CONTACTS, {"phones": list(phones)})
    return {row.phone: row.id for row in rows}


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

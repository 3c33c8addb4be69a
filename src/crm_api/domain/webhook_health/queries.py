"""SQL on the checks of webhook health."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, select, text, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.webhook_health.models import CheckStatus, Side, WebhookHealthCheck
from crm_api.ids import new_id

_SIDES = ", ".join(f"('{side}')" for side in Side)

# How each side stands: its last conclusion, and whether somebody is looking.
STANDING = text(f"""
    SELECT k.side, l.id, l.status, l.leg, l.failure, l.created_at, l.concluded_at,
           w.created_at AS waiting_since
      FROM (VALUES {_SIDES}) AS k (side)
      LEFT JOIN LATERAL (
          SELECT c.id, c.status, c.leg, c.failure, c.created_at, c.concluded_at
            FROM webhook_health_check c
           WHERE c.side = k.side AND c.status <> 'waiting'
           ORDER BY c.created_at DESC LIMIT 1) l ON true
      LEFT JOIN webhook_health_check w ON w.side = k.side AND w.status = 'waiting'
""")

ORDER = text("""
    INSERT INTO webhook_health_check (id, side, asked_by, created_at)
    VALUES (:id, :side, :asked_by, :now)
    ON CONFLICT (side) WHERE status = 'waiting' DO NOTHING
    RETURNING id
""")

SET_TEXT = text("""
    UPDATE webhook_health_check SET token = :token, activity_id = :activity_id WHERE id = :id
""")

SET_LEG = text("UPDATE webhook_health_check SET leg = :leg WHERE id = :id")

FIND_LINE = text("""
    SELECT id, phone_number_id, number, status, blocked_reason FROM line
     WHERE phone_number_id = :name OR number = :number OR id::text = :name
     ORDER BY created_at LIMIT 1
""")
ZONE_OF_LINES = text("SELECT timezone FROM line ORDER BY created_at, id LIMIT 1")

LOCK_WAITING = text("""
    SELECT id, side, token, activity_id, created_at FROM webhook_health_check
     WHERE status = 'waiting' AND side = :side
       FOR UPDATE SKIP LOCKED
""")

# From the order to the applied event: what became of each leg of a test text.
TRACE = text("""
    SELECT t.status AS text_status, t.error_code AS text_error, a.status AS attempt_status,
           a.error_code AS attempt_error, a.called_at, e.received_at, e.processed_at,
           e.status AS event_status, e.last_error
      FROM webhook_health_check c
      LEFT JOIN activity t ON t.id = c.activity_id
      LEFT JOIN LATERAL (
          SELECT s.status, s.error_code, s.called_at FROM send_attempt s
           WHERE s.phone = t.phone AND s.created_at >= c.created_at - interval '1 minute'
             AND s.activity_id = t.id
           ORDER BY s.created_at DESC LIMIT 1) a ON true
      LEFT JOIN LATERAL (
          SELECT v.received_at, v.processed_at, v.status, v.last_error FROM webhook_event v
           WHERE v.received_at >= c.created_at - interval '1 minute'
             AND v.type = 'message.received' AND strpos(v.payload::text, c.token) > 0
           ORDER BY v.received_at, v.id LIMIT 1) e ON true
     WHERE c.id = :id
""")

# A text that could not leave in time must not leave hours later, one of many.
WITHDRAW_TEXT = text("""
    UPDATE activity SET status = 'failed', error_code = 'health_check_over', updated_at = :now
     WHERE id = :activity_id AND status = 'queued'
""")

CONCLUDE = text("""
    UPDATE webhook_health_check
       SET status = :status, leg = :leg, failure = :failure, sent_at = :sent_at,
           received_at = :received_at, latency_ms = :latency_ms, concluded_at = :now,
           evidence = :evidence
     WHERE id = :id
""").bindparams(bindparam("evidence", type_=JSONB))

FORGET = text("""
    DELETE FROM webhook_health_check WHERE created_at < :before AND status <> 'waiting'
""")
FORGET_REDELIVERIES = text("DELETE FROM webhook_redelivery WHERE asked_at < :before")

REFUSED_SINCE = text("""
    SELECT EXISTS (
        SELECT FROM alert
         WHERE kind = 'webhook_refused' AND subject IN ('signature_mismatch', 'signature_stale')
           AND last_seen_at >= :since)
""")

# What counts of an hour: events that were not made by our own test texts.
_NOT_OURS = "strpos(e.payload::text, :mark) = 0"
LAST_EVENT = text(f"""
    SELECT e.received_at FROM webhook_event e
     WHERE e.received_at > :since AND e.received_at <= :now AND {_NOT_OURS}
     ORDER BY e.received_at DESC, e.id DESC LIMIT 1
""")
FIRST_EVENT = text("SELECT min(received_at) FROM webhook_event")
COUNTS = text(f"""
    SELECT w.position, n.slots
      FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
           WITH ORDINALITY AS w (starts, ends, position)
     CROSS JOIN LATERAL (
         SELECT count(DISTINCT date_bin(:slot, e.received_at, timestamptz 'epoch')) AS slots
           FROM webhook_event e
          WHERE e.received_at > w.starts AND e.received_at <= w.ends AND {_NOT_OURS}) n
     ORDER BY w.position
""")

# Deliveries that the provider gave up: which of their events are here all the same.
HELD_EVENTS = text("""
    SELECT provider_event_id FROM webhook_event_key
     WHERE provider_event_id = ANY(CAST(:event_ids AS text[]))
""")
ASKED = text("""
    SELECT delivery_id, times, asked_at FROM webhook_redelivery
     WHERE delivery_id = ANY(CAST(:delivery_ids AS text[]))
""")
NOTE_ASKED = text("""
    INSERT INTO webhook_redelivery (delivery_id, webhook_id, provider_event_id, times, asked_at)
    VALUES (:delivery_id, :webhook_id, :event_id, 1, :now)
    ON CONFLICT (delivery_id) DO UPDATE
    SET times = webhook_redelivery.times + 1, asked_at = excluded.asked_at
""")


async def standing(session: AsyncSession) -> Sequence[Row[Any]]:
    """Fetch how each side stands, in one statement."""
    return (await session.execute(STANDING)).all()


async def order(session: AsyncSession, *, side: Side, asked_by: str, now: datetime) -> UUID | None:
    """Order a look; None when one from this side waits already."""
    values = {"id": new_id(), "side": side.value, "asked_by": asked_by, "now": now}
    ordered: UUID | None = (await session.execute(ORDER, values)).scalar_one_or_none()
    return ordered


async def set_text(session: AsyncSession, *, check_id: UUID, token: str, activity_id: UUID) -> None:
    """Note by which text a check is made."""
    await session.execute(SET_TEXT, {"id": check_id, "token": token, "activity_id": activity_id})


async def set_leg(session: AsyncSession, *, check_id: UUID, leg: str) -> None:
    """Name another leg in a conclusion."""
    await session.execute(SET_LEG, {"id": check_id, "leg": leg})


async def withdraw_text(session: AsyncSession, *, activity_id: UUID, now: datetime) -> None:
    """Let a test text that still waits never leave."""
    await session.execute(WITHDRAW_TEXT, {"activity_id": activity_id, "now": now})


async def conclude(
    session: AsyncSession,
    *,
    check_id: UUID,
    status: CheckStatus,
    leg: str | None,
    failure: str | None,
    sent_at: datetime | None,
    received_at: datetime | None,
    latency_ms: int | None,
    evidence: dict[str, Any],
    now: datetime,
) -> None:
    """Write down what a look found."""
    values = {
        "id": check_id,
        "status": status.value,
        "leg": leg,
        "failure": failure,
        "sent_at": sent_at,
        "received_at": received_at,
        "latency_ms": latency_ms,
        "evidence": evidence,
        "now": now,
    }
    await session.execute(CONCLUDE, values)


async def forget(session: AsyncSession, *, before: datetime) -> None:
    """Remove what is older than anybody asks for."""
    await session.execute(FORGET, {"before": before})
    await session.execute(FORGET_REDELIVERIES, {"before": before})


async def find_line(session: AsyncSession, *, name: str, number: str) -> Row[Any] | None:
    """Find a line by any of its names: our id, the provider's, its number."""
    found = await session.execute(FIND_LINE, {"name": name, "number": number})
    return found.first()


async def zone_of_lines(session: AsyncSession) -> str | None:
    """Fetch the time zone of the oldest line; None when there is no line."""
    zone: str | None = await session.scalar(ZONE_OF_LINES)
    return zone


async def get_waiting(session: AsyncSession, side: Side) -> WebhookHealthCheck | None:
    """Fetch the look that waits from a side."""
    found: WebhookHealthCheck | None = await session.scalar(
        select(WebhookHealthCheck)
        .where(WebhookHealthCheck.side == side.value, WebhookHealthCheck.status == "waiting")
        .execution_options(populate_existing=True)
    )
    return found


async def get(session: AsyncSession, check_id: UUID) -> WebhookHealthCheck | None:
    """Fetch one check as it is now."""
    return await session.get(WebhookHealthCheck, check_id, populate_existing=True)


async def lock_waiting(session: AsyncSession, side: Side) -> Row[Any] | None:
    """Lock the look that waits from a side; None when there is none, or another has it."""
    return (await session.execute(LOCK_WAITING, {"side": side.value})).one_or_none()


async def trace(session: AsyncSession, check_id: UUID) -> Row[Any]:
    """Fetch what became of a test text, leg by leg."""
    return (await session.execute(TRACE, {"id": check_id})).one()


async def was_refused_since(session: AsyncSession, since: datetime) -> bool:
    """Tell whether a signature was refused since then."""
    refused: bool = (await session.execute(REFUSED_SINCE, {"since": since})).scalar_one()
    return refused


async def list_checks(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[WebhookHealthCheck]:
    """Fetch a page of checks, newest first."""
    query = select(WebhookHealthCheck)
    if after is not None:
        query = query.where(tuple_(WebhookHealthCheck.created_at, WebhookHealthCheck.id) < after)
    query = query.order_by(
        WebhookHealthCheck.created_at.desc(), WebhookHealthCheck.id.desc()
    ).limit(limit)
    return list(await session.scalars(query))


async def last_event_at(
    session: AsyncSession, *, since: datetime, mark: str, now: datetime
) -> datetime | None:
    """Fetch when the last event came that was not of a test text."""
    values = {"since": since, "mark": mark, "now": now}
    at: datetime | None = (await session.execute(LAST_EVENT, values)).scalar_one_or_none()
    return at


async def first_event_at(session: AsyncSession) -> datetime | None:
    """Fetch when the first event of all came."""
    at: datetime | None = (await session.execute(FIRST_EVENT)).scalar_one_or_none()
    return at


async def count_slots(
    session: AsyncSession,
    spans: Sequence[tuple[datetime, datetime]],
    *,
    slot: timedelta,
    mark: str,
) -> list[int]:
    """Count in how many slots of each span an event came; the span's beginning is excluded."""
    values = {
        "slot": slot,
        "starts": [begin for begin, _ in spans],
        "ends": [end for _, end in spans],
        "mark": mark,
    }
    return [row.slots for row in await session.execute(COUNTS, values)]


async def held_events(session: AsyncSession, event_ids: Sequence[str]) -> set[str]:
    """Tell which of these events are stored."""
    found = await session.scalars(HELD_EVENTS, {"event_ids": list(event_ids)})
    return set(found)


async def asked(session: AsyncSession, delivery_ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Fetch which of these deliveries were asked for again, by their id."""
    rows = await session.execute(ASKED, {"delivery_ids": list(delivery_ids)})
    return {row.delivery_id: row for row in rows}


async def note_asked(
    session: AsyncSession,
    *,
    delivery_id: str,
    webhook_id: str,
    event_id: str | None,
    now: datetime,
) -> None:
    """Note that a delivery was asked for once more."""
    values = {
        "delivery_id": delivery_id,
        "webhook_id": webhook_id,
        "event_id": event_id,
        "now": now,
    }
    await session.execute(NOTE_ASKED, values)

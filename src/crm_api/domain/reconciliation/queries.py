"""All SQL on runs of the reconciliation, and what they ask the timeline."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, Row, exists, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.reconciliation.models import OPEN, ReconciliationRun, RunStatus, Trigger

# The first of the open runs, whoever works on it: with its row locked, a second worker waits here
# and then sees that the lease is taken, so that two never work on two runs. One whose worker held
# it to the end of its lease counts a failure, so that what kills workers is not tried for ever.
CLAIM = text("""
    WITH first AS (
        SELECT id FROM reconciliation_run WHERE status IN ('pending', 'running')
        ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE
    )
    UPDATE reconciliation_run r
    SET status = 'running', started_at = coalesce(r.started_at, :now),
        failures = r.failures + (r.lease_token IS NOT NULL)::integer, lease_token = :token,
        lease_until = :lease_until
    FROM first WHERE r.id = first.id AND (r.lease_until IS NULL OR r.lease_until <= :now)
    RETURNING r.id
""")

# With the row locked the earlier beat is read: of several processes that come back at once, one
# sees the gap.
NOTE_RECEIVER = text("""
    WITH before AS (
        SELECT seen_at FROM receiver_heartbeat WHERE name = :name FOR NO KEY UPDATE
    ), noted AS (
        INSERT INTO receiver_heartbeat AS h (name, seen_at) VALUES (:name, :now)
        ON CONFLICT (name) DO UPDATE SET seen_at = greatest(h.seen_at, excluded.seen_at)
    )
    SELECT seen_at FROM before
""")

# What is listed there and missing, or less far, here; ranks as in `sends.reports`. One look at the
# index for each id: the LIMIT keeps the planner from reading the whole table for a long list.
COMPARE = text("""
    SELECT listed.place, a.id IS NOT NULL AS is_known, a.status, a.rank
    FROM unnest(CAST(:ids AS text[]), CAST(:ranks AS smallint[]))
        WITH ORDINALITY AS listed (id, rank, place)
    LEFT JOIN LATERAL (
        SELECT id, status, rank FROM activity WHERE openphone_id = listed.id LIMIT 1
    ) a ON true
    WHERE a.id IS NULL OR a.rank < listed.rank
""")

KNOWN_CALLS = text("""
    SELECT openphone_id, status, rank, call FROM activity
    WHERE openphone_id = ANY(CAST(:ids AS text[]))
""")

# Ours less theirs by EXCEPT, which hashes or sorts: without statistics, as in an import, the
# planner would compare each with each. By thread, one look at the index for each conversation.
_NOT_LISTED = """
    SELECT ours.openphone_id, kind, direction, status, occurred_at
    FROM (SELECT openphone_id FROM ours EXCEPT SELECT unnest(CAST(:ids AS text[]))) AS absent
    JOIN ours ON ours.openphone_id = absent.openphone_id
"""
ABSENT_IN_SPAN = text(f"""
    WITH ours AS MATERIALIZED (
        SELECT a.openphone_id, a.kind, a.direction, a.status, a.occurred_at
        FROM activity a
        WHERE a.kind = 'message' AND a.openphone_id IS NOT NULL
          AND a.occurred_at > CAST(:after AS timestamptz)
          AND a.occurred_at <= CAST(:until AS timestamptz)
          AND a.line_id IN (
              SELECT id FROM line WHERE phone_number_id = ANY(CAST(:lines AS text[])))
    ) {_NOT_LISTED}
""")
ABSENT_IN_THREADS = text(f"""
    WITH ours AS MATERIALIZED (
        SELECT a.openphone_id, a.kind, a.direction, a.status, a.occurred_at
        FROM unnest(CAST(:lines AS text[]), CAST(:phones AS text[]), CAST(:kinds AS text[]))
            AS thread (line, phone, kind)
        CROSS JOIN LATERAL (
            SELECT id FROM line WHERE phone_number_id = thread.line LIMIT 1
        ) l
        CROSS JOIN LATERAL (
            SELECT id FROM conversation WHERE line_id = l.id AND phone = thread.phone LIMIT 1
        ) c
        CROSS JOIN LATERAL (
            SELECT * FROM activity
            WHERE conversation_id = c.id AND occurred_at > CAST(:after AS timestamptz)
              AND occurred_at <= CAST(:until AS timestamptz)
            OFFSET 0
        ) a
        WHERE a.kind = thread.kind AND a.openphone_id IS NOT NULL
          AND jsonb_array_length(coalesce(a.call -> 'participants', '[]')) < 2
          AND jsonb_array_length(coalesce(a.call -> 'external', '[]')) < 2
    ) {_NOT_LISTED}
""")

TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtextextended('make_reconciliation_run', 0))")

# Alerts whose end means that webhooks may have been missed while they stood.
ENDED_GAP = text("""
    SELECT min(opened_at) FROM alert
    WHERE kind IN ('provider_down', 'webhook_health', 'webhook_refused')
      AND (kind <> 'webhook_refused' OR subject IN ('signature_mismatch', 'signature_stale'))
      AND resolved_at > CAST(:after AS timestamptz)
      AND resolved_at - opened_at > make_interval(secs => :seconds)
""")

COMMIT_SOON = text("SET LOCAL synchronous_commit = off")

TEXTS_WAIT = text("""
    SELECT EXISTS (SELECT FROM campaign WHERE status = 'running')
        OR EXISTS (SELECT FROM activity WHERE status = 'queued' AND send_after <= :now)
""")


async def insert_run(session: AsyncSession, *, values: dict[str, object]) -> ReconciliationRun:
    """Store a new run."""
    statement = insert(ReconciliationRun).values(values).returning(ReconciliationRun)
    return (await session.scalars(statement)).one()


async def get(session: AsyncSession, *, run_id: UUID) -> ReconciliationRun | None:
    """Fetch a run as it is now."""
    return await session.get(ReconciliationRun, run_id, populate_existing=True)


async def list_runs(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[ReconciliationRun]:
    """Fetch runs, newest first."""
    statement = select(ReconciliationRun)
    if after is not None:
        statement = statement.where(
            tuple_(ReconciliationRun.created_at, ReconciliationRun.id) < after
        )
    statement = statement.order_by(ReconciliationRun.created_at.desc(), ReconciliationRun.id.desc())
    return list(await session.scalars(statement.limit(limit)))


async def claim(
    session: AsyncSession, *, token: UUID, lease_until: datetime, now: datetime
) -> ReconciliationRun | None:
    """Take the run that is next, unless somebody works on it; None when none is to be had."""
    values = {"token": token, "lease_until": lease_until, "now": now}
    run_id = await session.scalar(CLAIM, values)
    return None if run_id is None else await get(session, run_id=run_id)


async def save(
    session: AsyncSession, *, run_id: UUID, token: UUID, values: dict[str, object]
) -> bool:
    """Write on a run that is still the caller's; False when somebody else has it or it ended."""
    statement = (
        update(ReconciliationRun)
        .where(
            ReconciliationRun.id == run_id,
            ReconciliationRun.lease_token == token,
            ReconciliationRun.status == RunStatus.RUNNING,
        )
        .values(values)
        .execution_options(synchronize_session=False)
    )
    return bool(cast("CursorResult[Any]", await session.execute(statement)).rowcount)


async def covered_until(session: AsyncSession) -> datetime | None:
    """Return the instant up to which complete runs cover everything; None when none did yet."""
    query = select(func.max(ReconciliationRun.until)).where(
        ReconciliationRun.status == text("'completed'"), ReconciliationRun.continues
    )
    found: datetime | None = await session.scalar(query)
    return found


async def newest_made_at(session: AsyncSession) -> datetime | None:
    """Return when the newest run was made; None when there was never one."""
    query = select(ReconciliationRun.created_at)
    found: datetime | None = await session.scalar(
        query.order_by(ReconciliationRun.created_at.desc(), ReconciliationRun.id.desc()).limit(1)
    )
    return found


async def commit_soon(session: AsyncSession) -> None:
    """Let this transaction's commit not wait for the disk."""
    await session.execute(COMMIT_SOON)


async def take_turns(session: AsyncSession) -> None:
    """Let one transaction at a time make the night's run."""
    await session.execute(TAKE_TURNS)


async def ended_gap(
    session: AsyncSession, *, after: datetime, longer_than: timedelta
) -> datetime | None:
    """Return when a gap began that has ended since; None when none has."""
    values = {"after": after, "seconds": longer_than.total_seconds()}
    found: datetime | None = await session.scalar(ENDED_GAP, values)
    return found


async def has_open(session: AsyncSession, *, trigger: Trigger) -> bool:
    """Say whether a run of this trigger waits that nobody has begun."""
    query = select(ReconciliationRun.id).where(
        ReconciliationRun.status.in_(OPEN),
        ReconciliationRun.trigger == trigger.value,
        ReconciliationRun.started_at.is_(None),
    )
    return bool(await session.scalar(select(exists(query))))


async def last_ended(session: AsyncSession) -> ReconciliationRun | None:
    """Fetch the newest run that has completed or failed."""
    query = (
        select(ReconciliationRun)
        .where(ReconciliationRun.status.not_in(OPEN))
        .order_by(ReconciliationRun.created_at.desc(), ReconciliationRun.id.desc())
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


async def note_receiver(session: AsyncSession, *, name: str, now: datetime) -> datetime | None:
    """Note that a receiver lives; when one was last seen before, None when never."""
    found: datetime | None = await session.scalar(NOTE_RECEIVER, {"name": name, "now": now})
    return found


async def compare(
    session: AsyncSession, *, ids: Sequence[str], ranks: Sequence[int]
) -> Sequence[Row[Any]]:
    """Return what is missing or less far here: its place (from 1), and what is known of it."""
    return (await session.execute(COMPARE, {"ids": ids, "ranks": ranks})).all()


async def known_calls(session: AsyncSession, *, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Fetch what is known of these calls, by the provider's id."""
    found = await session.execute(KNOWN_CALLS, {"ids": ids})
    return {row.openphone_id: row for row in found}


async def absent_in_span(
    session: AsyncSession,
    *,
    lines: Sequence[str],
    ids: Sequence[str],
    after: datetime,
    until: datetime,
) -> Sequence[Row[Any]]:
    """Fetch our texts of a span of time that are not among the listed ones.

    Args:
        lines: The provider's ids of the lines that it lists.
    """
    values = {"lines": lines, "ids": ids, "after": after, "until": until}
    return (await session.execute(ABSENT_IN_SPAN, values)).all()


async def absent_in_threads(
    session: AsyncSession,
    *,
    threads: Sequence[tuple[str, str, str]],
    ids: Sequence[str],
    after: datetime,
    until: datetime,
) -> Sequence[Row[Any]]:
    """Fetch our texts or calls with people that are not among the listed ones.

    Args:
        threads: The provider's id of the line, the person's number, ``message`` or ``call``.
    """
    values = {
        "lines": [line for line, _, _ in threads],
        "phones": [phone for _, phone, _ in threads],
        "kinds": [kind for _, _, kind in threads],
        "ids": ids,
        "after": after,
        "until": until,
    }
    return (await session.execute(ABSENT_IN_THREADS, values)).all()


async def texts_wait(session: AsyncSession, *, now: datetime) -> bool:
    """Say whether a campaign runs or a text waits to be sent."""
    return bool(await session.scalar(TEXTS_WAIT, {"now": now}))

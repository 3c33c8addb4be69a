"""All SQL on runs of the reconciliation, and what they ask the timeline."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, Row, exists, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.lines.models import Line
from crm_api.domain.reconciliation import statements as sql
from crm_api.domain.reconciliation.models import (
    OPEN,
    ReceiverHeartbeat,
    ReconciliationRun,
    RunStatus,
    Trigger,
)


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
    run_id = await session.scalar(sql.CLAIM, values)
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


async def has_complete_run(session: AsyncSession, *, since: datetime, until: datetime) -> bool:
    """Say whether a complete run reaches from one instant to the other."""
    query = select(ReconciliationRun.id).where(
        ReconciliationRun.status == text("'completed'"),
        or_(ReconciliationRun.since.is_(None), ReconciliationRun.since <= since),
        ReconciliationRun.until >= until,
    )
    return await session.scalar(query.limit(1)) is not None


async def newest_made_at(session: AsyncSession) -> datetime | None:
    """Return when the newest run was made; None when there was never one."""
    query = select(ReconciliationRun.created_at)
    found: datetime | None = await session.scalar(
        query.order_by(ReconciliationRun.created_at.desc(), ReconciliationRun.id.desc()).limit(1)
    )
    return found


async def commit_soon(session: AsyncSession) -> None:
    """Let this transaction's commit not wait for the disk."""
    await session.execute(sql.COMMIT_SOON)


async def take_turns(session: AsyncSession) -> None:
    """Let one transaction at a time make the night's run."""
    await session.execute(sql.TAKE_TURNS)


async def first_line_at(session: AsyncSession) -> datetime | None:
    """Return when the oldest line was added; None when there is none."""
    found: datetime | None = await session.scalar(
        select(Line.created_at).order_by(Line.created_at, Line.id).limit(1)
    )
    return found


async def backlog(session: AsyncSession) -> Row[Any]:
    """Fetch when the run that is next was made, and since when a received event is due."""
    return (await session.execute(sql.BACKLOG)).one()


async def ended_gap(
    session: AsyncSession, *, after: datetime, longer_than: timedelta
) -> datetime | None:
    """Return when a gap began that has ended since; None when none has."""
    values = {"after": after, "seconds": longer_than.total_seconds()}
    found: datetime | None = await session.scalar(sql.ENDED_GAP, values)
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
    found: datetime | None = await session.scalar(sql.NOTE_RECEIVER, {"name": name, "now": now})
    return found


async def skip_time(session: AsyncSession, *, skipped: timedelta) -> None:
    """Let every receiver have been seen later by as much as time has skipped."""
    await session.execute(
        update(ReceiverHeartbeat).values(seen_at=ReceiverHeartbeat.seen_at + skipped)
    )


async def compare(
    session: AsyncSession, *, ids: Sequence[str], ranks: Sequence[int]
) -> Sequence[Row[Any]]:
    """Return what is missing or less far here: its place (from 1), and what is known of it."""
    return (await session.execute(sql.COMPARE, {"ids": ids, "ranks": ranks})).all()


async def known_calls(session: AsyncSession, *, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Fetch what is known of these calls, by the provider's id."""
    found = await session.execute(sql.KNOWN_CALLS, {"ids": ids})
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
    return (await session.execute(sql.ABSENT_IN_SPAN, values)).all()


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
    return (await session.execute(sql.ABSENT_IN_THREADS, values)).all()


async def texts_wait(session: AsyncSession, *, now: datetime) -> bool:
    """Say whether a campaign runs or a text waits to be sent."""
    return bool(await session.scalar(sql.TEXTS_WAIT, {"now": now}))

"""SQL on phone look-ups, on the daily budget, and on runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CursorResult,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.phone_validation import (
    LineType,
    PhoneLookup,
    PhoneValidation,
    RunStatus,
)
from crm_api.platform.database import typed_rows

_BEFORE_ALL = UUID(int=0)


async def insert_run(session: AsyncSession, *, values: dict[str, object]) -> PhoneValidation:
    """Store a new run."""
    statement = insert(PhoneValidation).values(values).returning(PhoneValidation)
    return (await session.scalars(statement)).one()


async def find_run(session: AsyncSession, *, run_id: UUID) -> PhoneValidation | None:
    """Fetch a run as it is stored now."""
    return await session.get(PhoneValidation, run_id, populate_existing=True)


async def fetch_runs(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[PhoneValidation]:
    """Fetch runs, newest first."""
    statement = select(PhoneValidation)
    if after is not None:
        statement = statement.where(tuple_(PhoneValidation.created_at, PhoneValidation.id) < after)
    statement = statement.order_by(PhoneValidation.created_at.desc(), PhoneValidation.id.desc())
    return list(await session.scalars(statement.limit(limit)))


async def find_people(session: AsyncSession, *, contact_ids: Sequence[UUID]) -> list[UUID]:
    """Return the contacts with these ids, or those that they were merged into; each once."""
    heads = select(func.coalesce(Contact.merged_into, Contact.id)).where(
        Contact.id == any_(bindparam("ids", list(contact_ids), ARRAY(Uuid())))
    )
    people = select(Contact.id).where(Contact.id.in_(heads), Contact.deleted_at.is_(None))
    return list(await session.scalars(people.order_by(Contact.id)))


async def cancel_run(session: AsyncSession, *, run_id: UUID, now: datetime) -> bool:
    """Cancel an open run; False if it is not open."""
    statement = (
        update(PhoneValidation)
        .where(
            PhoneValidation.id == run_id,
            PhoneValidation.status.in_([RunStatus.PENDING, RunStatus.RUNNING]),
        )
        .values(status=RunStatus.CANCELLED, finished_at=now, lease_token=None, lease_until=None)
    )
    return bool(cast("CursorResult[Any]", await session.execute(statement)).rowcount)


# Always locks the oldest open run, even if a worker has it: a second worker waits here and then
# sees that the lease is taken. So workers handle one run at a time, and no number is paid for
# twice. A run whose lease expired counts a failure, so that a run that kills its workers is not
# repeated without end.
_CLAIM = text("""
    WITH first AS (
        SELECT id FROM phone_validation WHERE status IN ('pending', 'running')
        ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE
    )
    UPDATE phone_validation r
    SET status = 'running', started_at = coalesce(r.started_at, :now),
        failures = r.failures + (r.lease_token IS NOT NULL)::integer, lease_token = :token,
        lease_until = :lease_until
    FROM first WHERE r.id = first.id AND (r.lease_until IS NULL OR r.lease_until <= :now)
    RETURNING r.id
""")


async def claim_run(
    session: AsyncSession, *, token: UUID, lease_until: datetime, now: datetime
) -> PhoneValidation | None:
    """Claim the oldest open run; None if there is none or another worker has it."""
    values = {"token": token, "lease_until": lease_until, "now": now}
    run_id = await session.scalar(_CLAIM, values)
    return None if run_id is None else await find_run(session, run_id=run_id)


async def update_run(
    session: AsyncSession, *, run_id: UUID, token: UUID, values: Mapping[str, object]
) -> bool:
    """Write to a run with this token; False if another worker has the run or it ended."""
    statement = (
        update(PhoneValidation)
        .where(
            PhoneValidation.id == run_id,
            PhoneValidation.lease_token == token,
            PhoneValidation.status == RunStatus.RUNNING,
        )
        .values(values)
        .execution_options(synchronize_session=False)
    )
    return bool(cast("CursorResult[Any]", await session.execute(statement)).rowcount)


@dataclass(frozen=True, slots=True)
class RunContact:
    """A contact of a run with its last look-up; ``phone`` is None for a deleted contact."""

    contact_id: UUID
    phone: str | None
    line_type: str | None
    is_fresh: bool


# A deleted contact has a NULL number, so that the page still moves past it.
_PAGE = text("""
    WITH named AS (
        (SELECT l.contact_id FROM contact_list_member l
         WHERE l.list_id = CAST(:list_id AS uuid) AND l.contact_id > CAST(:after AS uuid)
         ORDER BY l.contact_id LIMIT :limit)
        UNION ALL
        (SELECT x.id FROM unnest(CAST(:contact_ids AS uuid[])) AS x (id)
         WHERE x.id > CAST(:after AS uuid)
         ORDER BY x.id LIMIT :limit)
    )
    SELECT n.contact_id, c.phone, k.line_type, coalesce(k.expires_at > :now, false) AS is_fresh
    FROM named n
    LEFT JOIN contact c ON c.id = n.contact_id AND c.deleted_at IS NULL
    LEFT JOIN phone_lookup k ON k.phone = c.phone
    ORDER BY n.contact_id
""")


async def fetch_run_page(
    session: AsyncSession, *, run: PhoneValidation, limit: int, now: datetime
) -> list[RunContact]:
    """Fetch the next contacts of a run with their last look-ups, in the order of their ids."""
    values = {
        "list_id": run.list_id,
        "contact_ids": run.contact_ids or [],
        "after": run.position or _BEFORE_ALL,
        "limit": limit,
        "now": now,
    }
    return typed_rows(RunContact, await session.execute(_PAGE, values))


# In the order of the numbers, so that two concurrent statements cannot deadlock.
_STORE = text("""
    INSERT INTO phone_lookup AS k (phone, line_type, carrier, source, checked_at, expires_at)
    SELECT a.phone, a.line_type, a.carrier, a.source, :now, a.expires_at
    FROM unnest(CAST(:phones AS text[]), CAST(:line_types AS text[]), CAST(:carriers AS text[]),
                CAST(:sources AS text[]), CAST(:expiries AS timestamptz[]))
        AS a (phone, line_type, carrier, source, expires_at)
    ORDER BY a.phone
    ON CONFLICT (phone) DO UPDATE
    SET line_type = excluded.line_type, carrier = excluded.carrier, source = excluded.source,
        checked_at = excluded.checked_at, expires_at = excluded.expires_at
""")


async def store_lookups(
    session: AsyncSession, *, rows: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """Store results, and replace earlier results of the same numbers.

    Args:
        rows: ``phone``, ``line_type``, ``carrier``, ``source`` and ``expires_at`` of each number.
    """
    columns = {
        "phones": "phone",
        "line_types": "line_type",
        "carriers": "carrier",
        "sources": "source",
        "expiries": "expires_at",
    }
    values = {many: [row[one] for row in rows] for many, one in columns.items()}
    await session.execute(_STORE, {**values, "now": now})


async def fetch_line_types(session: AsyncSession, *, phones: Sequence[str]) -> dict[str, str]:
    """Return the line types by number; numbers with an unknown line type are left out."""
    statement = select(PhoneLookup.phone, PhoneLookup.line_type).where(
        PhoneLookup.phone == any_(bindparam("phones", list(phones), ARRAY(Text()))),
        PhoneLookup.line_type != LineType.UNKNOWN,
    )
    return {row.phone: row.line_type for row in await session.execute(statement)}


# All or nothing in one statement: concurrent workers wait for each other on the row.
_TAKE_LOOKUPS = text("""
    INSERT INTO phone_lookup_day AS d (day, used)
    SELECT CAST(:day AS date), CAST(:wanted AS integer)
    WHERE CAST(:wanted AS integer) <= CAST(:daily AS integer)
    ON CONFLICT (day) DO UPDATE SET used = d.used + excluded.used
    WHERE d.used + excluded.used <= CAST(:daily AS integer)
    RETURNING d.used
""")


async def take_lookups(session: AsyncSession, *, day: date, wanted: int, daily: int) -> bool:
    """Take ``wanted`` look-ups from the budget of a day; False if that exceeds ``daily``."""
    values = {"day": day, "wanted": wanted, "daily": daily}
    return await session.scalar(_TAKE_LOOKUPS, values) is not None


_RETURN_LOOKUPS = text("""
    UPDATE phone_lookup_day SET used = greatest(used - CAST(:count AS integer), 0) WHERE day = :day
""")


async def return_lookups(session: AsyncSession, *, day: date, count: int) -> None:
    """Return ``count`` look-ups to the budget of a day."""
    await session.execute(_RETURN_LOOKUPS, {"day": day, "count": count})

"""Plan holdouts, list them, and compare their two groups.

A holdout is a test of the effect of campaigns: one group of people gets no campaign messages, the
other group gets them. A person counts in the group to which the person was assigned, whatever
happened later (intention to treat).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import select, text

from crm_api.domain.insight.holdouts.plan import HoldoutPlan, plan_holdout
from crm_api.domain.kit.errors import ConflictError, Example, InvalidError, NotFoundError
from crm_api.domain.kit.examples import example_id
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.messaging.models.holdouts import Holdout, HoldoutScope
from crm_api.platform.database import UnitOfWork, get_or_raise, typed_rows
from crm_api.platform.ids import new_id


class HoldoutNotFoundError(NotFoundError):
    """No holdout has this id."""

    code = "holdout_not_found"
    title = "Holdout not found"
    detail = "There is no holdout with this id. GET /v1/holdouts lists the holdouts."


class HoldoutOverlapsError(ConflictError):
    """The period overlaps the period of another holdout, which has the id ``holdout_id``."""

    code = "holdout_overlaps"
    title = "Another holdout runs in this period"
    example = Example(
        "Another holdout runs in a part of this period. Choose a period after the end of that "
        "holdout.",
        holdout_id=example_id("holdout"),
    )


class HoldoutPeriodError(InvalidError):
    """The end of the holdout is not later than its beginning, or is in the past."""

    code = "holdout_period"
    title = "Invalid period of a holdout"
    pointer = "/until"
    detail = "`until` must be later than `from`, and later than today (UTC)."


_KEY_BYTES = 32
_PACE_DAYS = 30
USUAL_PER_DAY = 125
"""The number of new people a day that a plan assumes if no first messages were sent in the last 30
days. It is the usual daily limit of a phone line."""

LOCK = text("SELECT pg_advisory_xact_lock(hashtext('holdout'), 0)")
# This counts the first messages that were sent or failed, in campaigns that were started after
# `since`.
PACE = text("""
    SELECT (SELECT coalesce(sum(t.people), 0) FROM campaign_tally t JOIN campaign c
            ON c.id = t.campaign_id
            WHERE t.step = 0 AND t.status IN ('sent', 'delivered', 'failed')
              AND c.started_at > :since)
""")
OUTCOMES = text("""
    SELECT p.holdout_id, o.kind, p.is_held, count(DISTINCT p.contact_id) AS people
    FROM holdout_person p
    JOIN contact d ON d.id = p.contact_id
    JOIN contact c ON c.id = p.contact_id OR c.id = d.merged_into
         OR c.merged_into = coalesce(d.merged_into, d.id)
    JOIN outcome_subject s ON s.contact_id = c.id
    JOIN outcome o ON o.id = s.outcome_id AND o.occurred_at >= p.assigned_at
         AND o.reverses_id IS NULL AND o.kind IN ('appointment_booked', 'job_done')
         AND NOT EXISTS (SELECT FROM outcome r WHERE r.reverses_id = o.id)
    WHERE p.holdout_id = ANY(CAST(:holdout_ids AS uuid[]))
    GROUP BY p.holdout_id, o.kind, p.is_held
""")
PEOPLE = text("""
    SELECT p.holdout_id, p.is_held, count(*) AS people FROM holdout_person p
    WHERE p.holdout_id = ANY(CAST(:holdout_ids AS uuid[])) GROUP BY p.holdout_id, p.is_held
""")


@dataclass(frozen=True, slots=True)
class _Group:
    holdout_id: UUID
    is_held: bool
    people: int


@dataclass(frozen=True, slots=True)
class _Outcomes:
    holdout_id: UUID
    kind: str
    is_held: bool
    people: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Numbers of people in the two groups of a holdout.

    Attributes:
        messaged: The number of people in the group that gets messages.
        messaged_with: How many people in the group with messages had an outcome.
        held: The number of people in the group that gets no messages.
        held_with: How many people in the group without messages had an outcome.
    """

    messaged: int
    messaged_with: int
    held: int
    held_with: int


@dataclass(frozen=True, kw_only=True)
class HoldoutResult:
    """A holdout, its plan, and the comparison of its two groups: with and without messages.

    Attributes:
        appointments: The groups, compared by the number of people with a booked appointment.
        jobs: The groups, compared by the number of people for whom a job was done.
    """

    holdout: Holdout
    plan: HoldoutPlan
    appointments: Comparison
    jobs: Comparison


async def plan_new_holdout(
    uow: UnitOfWork,
    *,
    name: str,
    percent: int,
    since: date,
    until: date,
    scope: HoldoutScope,
    created_by: str,
    now: datetime,
) -> HoldoutResult:
    """Store a new holdout: a period in which a part of the people gets no campaign messages.

    If ``since`` is in the past, the holdout begins now.

    Returns:
        The holdout with its plan and its present result.

    Raises:
        HoldoutOverlapsError: The period overlaps the period of another holdout.
        HoldoutPeriodError: The period is empty, or its end is in the past.
    """
    starts_at = max(now, datetime.combine(since, time(), UTC))
    ends_at = datetime.combine(until, time(), UTC)
    if ends_at <= starts_at:
        raise HoldoutPeriodError
    await uow.session.execute(LOCK)
    overlapping = select(Holdout.id).where(Holdout.starts_at < ends_at, Holdout.ends_at > starts_at)
    other = await uow.session.scalar(overlapping.limit(1))
    if other is not None:
        raise HoldoutOverlapsError(
            "Another holdout runs in a part of this period. Choose a period after the end of that "
            "holdout.",
            holdout_id=str(other),
        )
    holdout = Holdout(
        id=new_id(),
        name=name,
        percent=percent,
        scope=scope,
        starts_at=starts_at,
        ends_at=ends_at,
        hash_key=os.urandom(_KEY_BYTES),
        created_by=created_by,
        created_at=now,
    )
    uow.session.add(holdout)
    await uow.session.flush()
    [known] = await _known(uow, [holdout], now=now)
    return known


async def read_holdout(uow: UnitOfWork, *, holdout_id: UUID, now: datetime) -> HoldoutResult:
    """Return a holdout, its plan, and the comparison of its two groups: with and without messages.

    Raises:
        HoldoutNotFoundError: No holdout has this id.
    """
    holdout = await get_or_raise(uow.session, Holdout, holdout_id, HoldoutNotFoundError)
    [known] = await _known(uow, [holdout], now=now)
    return known


async def list_holdouts(
    uow: UnitOfWork, *, cursor: str | None, limit: int, now: datetime
) -> Page[HoldoutResult]:
    """Return a page of holdouts, the newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    rows, cursors = select(Holdout), Cursors("holdouts")
    page = await read_newest(
        uow.session,
        rows,
        Holdout.created_at,
        Holdout.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )
    return Page(await _known(uow, page.data, now=now), page.next_cursor)


async def _known(
    uow: UnitOfWork, holdouts: Sequence[Holdout], *, now: datetime
) -> list[HoldoutResult]:
    """Return the holdouts, each with its plan and the comparisons of its two groups.

    Three SQL statements read the data, however many holdouts there are.
    """
    if not holdouts:
        return []
    sent = await uow.session.scalar(PACE, {"since": now - timedelta(days=_PACE_DAYS)})
    pace = int(sent or 0) / _PACE_DAYS or USUAL_PER_DAY
    wanted = {"holdout_ids": [one.id for one in holdouts]}
    groups = typed_rows(_Group, await uow.session.execute(PEOPLE, wanted))
    people = {(one.holdout_id, one.is_held): one.people for one in groups}
    found = typed_rows(_Outcomes, await uow.session.execute(OUTCOMES, wanted))
    with_outcome = {(one.holdout_id, one.kind, one.is_held): one.people for one in found}

    def compared(holdout_id: UUID, kind: str) -> Comparison:
        return Comparison(
            messaged=people.get((holdout_id, False), 0),
            messaged_with=with_outcome.get((holdout_id, kind, False), 0),
            held=people.get((holdout_id, True), 0),
            held_with=with_outcome.get((holdout_id, kind, True), 0),
        )

    return [
        HoldoutResult(
            holdout=one,
            plan=plan_holdout(
                percent=one.percent,
                starts_at=one.starts_at,
                ends_at=one.ends_at,
                people_per_day=pace,
            ),
            appointments=compared(one.id, "appointment_booked"),
            jobs=compared(one.id, "job_done"),
        )
        for one in holdouts
    ]

"""Apply carrier budgets in the claim: lock them, count what is used, take what fits.

Recipients that a budget has no room for are held until the carriers' day ends. A budget may have
room earlier, because it was raised or removed, messages were refused, or a number's carrier became
known. Then ``wake_held_recipients`` makes them due.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.kit.message_segments import segments
from crm_api.domain.messaging.company.carriers import Budgets, carrier_day, carrier_of
from crm_api.domain.messaging.sends.claim_order import PlannedAttempt
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.database import UnitOfWork

LOOK_AHEAD = 500
"""Candidates that a claim reads while a budget is used up. Recipients that may get a message can
come after many that may not."""
MARK = timedelta(microseconds=1)
"""Held recipients are due this long after the end of the carriers' day. No other recipient is due
at that instant, so it identifies them without a column."""
LOOK_AGAIN = timedelta(hours=1)
"""A raised budget takes effect within this time."""


@dataclass(kw_only=True)
class CarrierShare:
    """How a claim divides its candidates.

    Attributes:
        taken: Candidates whose message fits.
        held: Ids of recipients whose message did not fit even before this claim.
        has_passed_over: This claim used the room that another candidate needed. The next claim
            tries that candidate again.
    """

    taken: list[PlannedAttempt] = field(default_factory=list)
    held: list[UUID] = field(default_factory=list)
    has_passed_over: bool = False


@dataclass(kw_only=True)
class CarrierRoom:
    """What is left of the carrier budgets today.

    Attributes:
        budgets: The declared budgets.
        left: Segments that are left, by carrier with a budget; negative if more were used.
        ends_at: When the carriers' day ends.
    """

    budgets: Budgets
    left: dict[str, int]
    ends_at: datetime

    @property
    def is_short(self) -> bool:
        """True when a budget is used up."""
        return any(segments <= 0 for segments in self.left.values())

    def held_by(self, carrier: str, wanted: int) -> str | None:
        """Return the carrier whose budget has no room for ``wanted`` segments; None if it has."""
        counted = self.budgets.counted_as(carrier)
        return counted if counted is not None and self.left[counted] < wanted else None

    def take(self, candidates: Sequence[PlannedAttempt], *, most: int) -> "CarrierShare":
        """Take up to ``most`` candidates in order whose messages fit the budgets.

        A candidate is held if its message did not fit before this claim. If it does not fit only
        because of this claim, it is passed over: a candidate that was taken may still get no
        attempt.
        """
        share = CarrierShare()
        before = dict(self.left)
        for one in candidates:
            if len(share.taken) >= most:
                break
            counted = self.budgets.counted_as(one.carrier)
            if self.held_by(one.carrier, one.segments) is None:
                share.taken.append(one)
                if counted is not None:
                    self.left[counted] -= one.segments
            elif counted is not None and before[counted] < one.segments:
                share.held.append(one.membership_id)
            else:
                share.has_passed_over = True
        return share

    @property
    def held_until(self) -> datetime:
        """Return when held recipients are due again, unless ``wake_held_recipients`` wakes them."""
        return self.ends_at + MARK


LOCK_BUDGETS = text("SELECT s.carrier_budgets FROM company_settings s FOR NO KEY UPDATE")


async def lock_carrier_room(
    uow: UnitOfWork, *, times: SendTimes, now: datetime
) -> CarrierRoom | None:
    """Lock the company's budgets and count what is used; None if no budget is declared.

    The lock is taken after the line's and before the numbers'. It is a statement of its own, so
    that the count sees what other lines claimed before (Sending, rule 1).
    """
    declared = await uow.session.scalar(LOCK_BUDGETS)
    if not declared:
        return None
    return await _room(uow, declared, grace=times.grace, now=now)


READ_BUDGETS = text("SELECT s.carrier_budgets FROM company_settings s")


async def read_carrier_room(
    uow: UnitOfWork, *, grace: timedelta, now: datetime
) -> CarrierRoom | None:
    """Count what is used of the budgets, without a lock; None if no budget is declared."""
    declared = await uow.session.scalar(READ_BUDGETS)
    if not declared:
        return None
    return await _room(uow, declared, grace=grace, now=now)


# Rows written before segments were stored count with 67 characters a segment.
_SEGMENTS = "coalesce(a.segments, CAST(ceil(length(a.body) / 67.0) AS integer))"

_CARRIER = "coalesce(a.carrier, 'unknown')"

# Counted like a line's day (`usage.USAGE`): open attempts count today, accepted ones on the day of
# the provider's clock, parked and not-found ones on every day that their window touches.
SEGMENTS_USED = text(f"""
    SELECT u.carrier, CAST(greatest(0, sum(u.segments)) AS bigint) AS segments
    FROM (
        SELECT {_CARRIER} AS carrier, {_SEGMENTS} AS segments
        FROM send_attempt a WHERE a.is_open
        UNION ALL
        SELECT t.carrier, t.segments FROM carrier_tally t
        WHERE t.quarter >= CAST(:begins_at AS timestamptz)
          AND t.quarter < CAST(:ends_at AS timestamptz)
        UNION ALL
        SELECT {_CARRIER}, {_SEGMENTS}
        FROM line l JOIN send_attempt a ON a.line_id = l.id
        WHERE a.is_uncertain AND a.called_at < CAST(:ends_at AS timestamptz)
          AND a.called_at > CAST(:begins_at AS timestamptz) - make_interval(secs => :grace)
          AND a.created_at > CAST(:begins_at AS timestamptz)
              - make_interval(secs => :grace) - interval '1 hour'
    ) u
    GROUP BY u.carrier
""")


async def _room(
    uow: UnitOfWork, declared: dict[str, Any], *, grace: timedelta, now: datetime
) -> CarrierRoom:
    begins_at, ends_at = carrier_day(now)
    values = {"begins_at": begins_at, "ends_at": ends_at, "grace": grace.total_seconds()}
    rows = await uow.session.execute(SEGMENTS_USED, values)
    budgets = Budgets.of(declared)
    left = budgets.left({row.carrier: row.segments for row in rows})
    return CarrierRoom(budgets=budgets, left=left, ends_at=ends_at)


def segments_of(body: str) -> int:
    """Return how many segments a message takes."""
    return segments(body)[1]


CARRIER_NAME = text("SELECT k.carrier FROM phone_lookup k WHERE k.phone = :phone")


async def read_carrier_of_number(uow: UnitOfWork, *, phone: str) -> str:
    """Return the carrier of a number that phone validation stored."""
    return carrier_of(await uow.session.scalar(CARRIER_NAME, {"phone": phone}))


_HELD = """
    FROM campaign c CROSS JOIN LATERAL unnest(c.zone_keys) AS z (zone_key)
    JOIN campaign_membership m ON m.campaign_id = c.id AND m.zone_key = z.zone_key
        AND m.status = 'pending' AND m.due_at = CAST(:held_until AS timestamptz)
    LEFT JOIN phone_lookup k ON k.phone = m.phone
    WHERE c.status = 'running'
"""

COUNT_HELD = text(f"SELECT k.carrier AS name, count(*) AS number {_HELD} GROUP BY k.carrier")

# Ordered by id, the order in which recipients are locked.
WAKE = text(f"""
    WITH woken AS (
        SELECT m.id {_HELD}
          AND (k.carrier = ANY(CAST(:names AS text[])) OR (:has_unnamed AND k.carrier IS NULL))
        ORDER BY m.id LIMIT :room FOR NO KEY UPDATE OF m SKIP LOCKED
    )
    UPDATE campaign_membership m SET due_at = :now FROM woken w WHERE m.id = w.id
    RETURNING m.id
""")


async def wake_held_recipients(uow: UnitOfWork, *, grace: timedelta, now: datetime) -> int:
    """Make held recipients due now whose carrier's budget has room; return their number.

    A budget wakes at most as many recipients as it has segments left.
    """
    held_until = carrier_day(now)[1] + MARK
    counted = (await uow.session.execute(COUNT_HELD, {"held_until": held_until})).all()
    if not counted:
        return 0
    room = await read_carrier_room(uow, grace=grace, now=now)
    names: dict[str | None, list[str | None]] = {}
    for row in counted:
        budget = room.budgets.counted_as(carrier_of(row.name)) if room else None
        names.setdefault(budget, []).append(row.name)
    woken = 0
    for budget, carriers in names.items():
        left = room.left[budget] if room and budget else sum(row.number for row in counted)
        if left <= 0:
            continue
        values = {
            "held_until": held_until,
            "names": [name for name in carriers if name is not None],
            "has_unnamed": None in carriers,
            "room": left,
            "now": now,
        }
        woken += len((await uow.session.execute(WAKE, values)).all())
    return woken

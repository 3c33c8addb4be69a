"""Keep messages within the carriers' budgets while attempts are claimed (reserved for sending).

A claim locks the budgets, counts the used segments, and chooses messages that fit.

If the budget of a recipient's carrier is used up, the recipient is postponed until the carriers'
day ends. (This is not the hold of a phone number.) The budget may have room earlier, for example
because it was raised, because messages were refused, or because the carrier of a number became
known. Then ``wake_held_recipients`` makes the recipients due.
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
"""How many candidates a claim reads if the budget of a carrier is used up. Many candidates of this
carrier may come first, before a candidate of another carrier."""
MARK = timedelta(microseconds=1)
"""A held recipient becomes due this long after the end of the carriers' day. No other recipient is
due at that instant. So this value of ``due_at`` marks the held recipients, and no further column is
needed."""
LOOK_AGAIN = timedelta(hours=1)
"""How often the job of the campaign queue checks whether a budget has room again, for example
because the budget was raised."""


@dataclass(kw_only=True)
class CarrierShare:
    """Which recipients of a claim fit the carrier budgets, and which do not.

    A claim reserves messages for sending. A carrier budget limits how many message segments a
    carrier's customers get per day. A candidate is a recipient that the claim may choose.

    Attributes:
        taken: The candidates whose messages fit the budgets.
        held: The ids of the recipients whose messages did not fit the budget at the start of this
            claim.
        has_passed_over: True if a candidate was left out only because the messages of the chosen
            candidates use the rest of the budget. The next claim tries this candidate again.
    """

    taken: list[PlannedAttempt] = field(default_factory=list)
    held: list[UUID] = field(default_factory=list)
    has_passed_over: bool = False


@dataclass(kw_only=True)
class CarrierRoom:
    """How many segments may still be sent today to the numbers of each carrier.

    A segment is the unit in which carriers count texts: a long text has several segments. A carrier
    budget is the number of segments that the company may send per day to numbers of the carrier.

    Attributes:
        budgets: The budgets that the company declared.
        left: The number of segments that are left in each budget, by carrier; negative if more
            segments were sent than the budget allows.
        ends_at: When the carriers' day ends.
    """

    budgets: Budgets
    left: dict[str, int]
    ends_at: datetime

    @property
    def is_short(self) -> bool:
        """True if at least one budget is used up."""
        return any(segments <= 0 for segments in self.left.values())

    def held_by(self, carrier: str, wanted: int) -> str | None:
        """Return the carrier whose budget is too small for a message; None if the message fits.

        Args:
            carrier: The carrier of the message's number.
            wanted: The number of segments of the message.
        """
        counted = self.budgets.counted_as(carrier)
        return counted if counted is not None and self.left[counted] < wanted else None

    def take(self, candidates: Sequence[PlannedAttempt], *, most: int) -> "CarrierShare":
        """Choose the first candidates, at most ``most``, for whose messages the budgets suffice.

        A candidate is not chosen in two cases:

        - The budget was too small for its message before this call. The candidate is held
          (postponed) until the carriers' day ends.
        - The budget is too small only because other candidates were chosen first. The candidate is
          left out, but not held. If one of the others then gets no attempt, the budget may suffice.
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
        """The instant at which held recipients become due, unless the budget has room earlier."""
        return self.ends_at + MARK


LOCK_BUDGETS = text("SELECT s.carrier_budgets FROM company_settings s FOR NO KEY UPDATE")


async def lock_carrier_room(
    uow: UnitOfWork, *, times: SendTimes, now: datetime
) -> CarrierRoom | None:
    """Lock the carrier budgets and return what is left today; None if no budget is declared.

    A carrier budget limits how many message segments (the parts that carriers count) we send to the
    customers of a carrier per day. The caller locks the line before this call, and the phone
    numbers after it. The used segments are counted after the budgets are locked. So the count
    includes all messages that other lines claimed earlier (``ARCHITECTURE.md``, "Sending, rule 1").
    """
    declared = await uow.session.scalar(LOCK_BUDGETS)
    if not declared:
        return None
    return await _room(uow, declared, grace=times.grace, now=now)


READ_BUDGETS = text("SELECT s.carrier_budgets FROM company_settings s")


async def read_carrier_room(
    uow: UnitOfWork, *, grace: timedelta, now: datetime
) -> CarrierRoom | None:
    """Return how many message segments each carrier still allows today; None without any limit.

    The limits (carrier budgets) are not locked.
    """
    declared = await uow.session.scalar(READ_BUDGETS)
    if not declared:
        return None
    return await _room(uow, declared, grace=grace, now=now)


# Rows that are older than the column `segments` count as one segment per 67 characters.
_SEGMENTS = "coalesce(a.segments, CAST(ceil(length(a.body) / 67.0) AS integer))"

_CARRIER = "coalesce(a.carrier, 'unknown')"

# The count follows the rules for a line's day (`usage.USAGE`). Open attempts count today. Accepted
# attempts count on the day of acceptance, by the provider's clock. Parked and not-found attempts
# count on every day that their window touches.
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
    """Return the number of segments that the carriers count for a message with this body."""
    return segments(body)[1]


CARRIER_NAME = text("SELECT k.carrier FROM phone_lookup k WHERE k.phone = :phone")


async def read_carrier_of_number(uow: UnitOfWork, *, phone: str) -> str:
    """Return the carrier that phone validation stored for a number; ``unknown`` if none."""
    return carrier_of(await uow.session.scalar(CARRIER_NAME, {"phone": phone}))


_HELD = """
    FROM campaign c CROSS JOIN LATERAL unnest(c.zone_keys) AS z (zone_key)
    JOIN campaign_membership m ON m.campaign_id = c.id AND m.zone_key = z.zone_key
        AND m.status = 'pending' AND m.due_at = CAST(:held_until AS timestamptz)
    LEFT JOIN phone_lookup k ON k.phone = m.phone
    WHERE c.status = 'running'
"""

COUNT_HELD = text(f"SELECT k.carrier AS name, count(*) AS number {_HELD} GROUP BY k.carrier")

# The rows are locked in the order of their ids, as everywhere.
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
    """Make recipients due now if they wait for a carrier budget and this budget has room again.

    A budget with room for 100 segments makes at most 100 recipients due, because each message needs
    at least one segment. If the carrier has no budget now, all its recipients become due.

    Returns:
        The number of recipients that became due.
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

"""Keep the messages to the customers of each carrier within a daily budget.

A budget is a number of message segments that the company declared. If a budget is used up, the
carrier's recipients are postponed until the carriers' day ends. This module calls such a recipient
"held"; this does not mean that the number is on hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.kit.message_segments import segments
from crm_api.domain.messaging.company.carriers import Budgets, carrier_day, carrier_of
from crm_api.domain.messaging.sends.claim_order import PlannedAttempt
from crm_api.platform.database import UnitOfWork

LOOK_AHEAD = 500
"""How many recipients a claim (the reservation of messages for sending) reads if the daily budget
of a carrier is used up. Many recipients with this carrier may come before the first recipient with
another carrier."""
MARK = timedelta(microseconds=1)
"""A recipient that waits because the budget of its carrier is used up becomes due this long after
the end of the carriers' day. No other recipient is due at that instant. So this value of ``due_at``
marks the recipients that wait for a budget, and no further column is needed."""
LOOK_AGAIN = timedelta(hours=1)
"""How often the job of the campaign queue checks whether the budget of a carrier allows messages
again, for example because the budget was raised."""


@dataclass(kw_only=True)
class CarrierShare:
    """The result of choosing recipients whose messages fit the carrier budgets.

    Attributes:
        taken: The chosen recipients, as planned attempts.
        held: The ids of recipients whose message needs more segments than the budget had left
            before the first recipient was chosen.
        has_passed_over: True if a recipient's message would have fit the budget at first, but no
            longer fit after other recipients were chosen.
    """

    taken: list[PlannedAttempt] = field(default_factory=list)
    held: list[UUID] = field(default_factory=list)
    has_passed_over: bool = False


@dataclass(kw_only=True)
class CarrierRoom:
    """How many segments may still be sent today to the numbers of each carrier.

    Attributes:
        budgets: The budgets that the company declared.
        left: The segments left in each budget, by carrier; negative if too many were sent.
        ends_at: When the carriers' day ends.
    """

    budgets: Budgets
    left: dict[str, int]
    ends_at: datetime

    @property
    def is_short(self) -> bool:
        """True if the daily budget of at least one carrier has no message segments left."""
        return any(segments <= 0 for segments in self.left.values())

    def held_by(self, carrier: str, wanted: int) -> str | None:
        """Return the carrier whose budget has too few segments left for a message.

        The result is None if the message fits the budget, or if no budget applies.

        Args:
            carrier: The carrier of the recipient's number. For ``unknown``, the carrier with the
                smallest budget is checked.
            wanted: The number of segments of the message.
        """
        counted = self.budgets.counted_as(carrier)
        return counted if counted is not None and self.left[counted] < wanted else None

    def take(self, candidates: Sequence[PlannedAttempt], *, most: int) -> "CarrierShare":
        """Choose the first recipients, at most ``most``, whose messages fit the carrier budgets.

        The segments of the chosen messages are subtracted from ``left``. The result also
        contains facts about the recipients whose messages do not fit.

        Args:
            candidates: The recipients, as planned attempts.
            most: The largest number of recipients to choose.
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
        """The instant to which recipients are postponed if a carrier budget is used up.

        The instant is just after the end of the carriers' day. But if the budget has segments left
        again before this instant, the recipients become due earlier.
        """
        return self.ends_at + MARK


READ_BUDGETS = text("SELECT s.carrier_budgets FROM company_settings s")
LOCK_BUDGETS = text(f"{READ_BUDGETS.text} FOR NO KEY UPDATE")

# Rows that are older than the column `segments` have no value in it. For such a row, one segment is
# assumed for each 67 characters.
_SEGMENTS = "coalesce(a.segments, CAST(ceil(length(a.body) / 67.0) AS integer))"

_CARRIER = "coalesce(a.carrier, 'unknown')"

# The rules are the same as for a line's day (`usage.USAGE`). Open attempts belong to today.
# Accepted attempts belong to the day of acceptance, by the provider's clock. For parked attempts
# (unclear attempts that wait for a user) and not-found attempts, the acceptance is assumed between
# the gate (the last check before the call of the provider) and the end of the grace period. If
# midnight is in this time, such an attempt is included in both days.
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


async def read_carrier_room(
    uow: UnitOfWork, *, grace: timedelta, now: datetime, is_locked: bool = False
) -> CarrierRoom | None:
    """Return how many segments each carrier may still get today; None if no budget is declared.

    Args:
        is_locked: True to lock the budgets until the transaction ends. All callers must lock in
            this order: the line, then the carrier budgets, then the phone numbers. The used
            segments are counted after the lock (``ARCHITECTURE.md``, "Sending, rule 1").
    """
    declared = await uow.session.scalar(LOCK_BUDGETS if is_locked else READ_BUDGETS)
    if not declared:
        return None
    begins_at, ends_at = carrier_day(now)
    values = {"begins_at": begins_at, "ends_at": ends_at, "grace": grace.total_seconds()}
    rows = await uow.session.execute(SEGMENTS_USED, values)
    budgets = Budgets.of(declared)
    left = budgets.left({row.carrier: row.segments for row in rows})
    return CarrierRoom(budgets=budgets, left=left, ends_at=ends_at)


def segments_of(body: str) -> int:
    """Return how many SMS segments a message with this body has; the carriers count segments."""
    return segments(body)[1]


CARRIER_NAME = text("SELECT k.carrier FROM phone_lookup k WHERE k.phone = :phone")


async def read_carrier_of_number(uow: UnitOfWork, *, phone: str) -> str:
    """Return the carrier that phone validation stored for a number, or ``unknown``."""
    return carrier_of(await uow.session.scalar(CARRIER_NAME, {"phone": phone}))


_HELD = """
    FROM campaign c CROSS JOIN LATERAL unnest(c.zone_keys) AS z (zone_key)
    JOIN campaign_membership m ON m.campaign_id = c.id AND m.zone_key = z.zone_key
        AND m.status = 'pending' AND m.due_at = CAST(:held_until AS timestamptz)
    LEFT JOIN phone_lookup k ON k.phone = m.phone
    WHERE c.status = 'running'
"""

COUNT_HELD = text(f"SELECT k.carrier AS name, count(*) AS number {_HELD} GROUP BY k.carrier")

# The rows are locked in the order of their ids, so that two transactions cannot deadlock.
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
    """Make postponed recipients due if their carrier budget has segments left again.

    For each segment that is left, at most one recipient becomes due. If a budget was removed, all
    its postponed recipients become due.

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

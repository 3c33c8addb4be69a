"""Check whether the time since the last event is unusually long, compared with earlier weeks.

In each earlier week, the check examines the time span that has the same weekdays and local hours as
the time since the last event. It counts the ten-minute slots in which at least one event arrived.
It does not count the events, because one campaign can cause hundreds of events in an hour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, text

from crm_api.domain.consent.legal_rules.rules import is_federal_holiday
from crm_api.domain.inbound.webhook_events.models import WebhookEvent
from crm_api.domain.inbound.webhook_health.message_check import MARK
from crm_api.domain.inbound.webhook_health.models import WebhookHealthSide
from crm_api.domain.inbound.webhook_health.service import (
    CheckResult,
    conclude_check,
    find_waiting_check,
)
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.models.lines import DEFAULT_TIMEZONE, Line
from crm_api.platform.database import UnitOfWork

WEEKS = 8
"""Number of earlier weeks to compare: enough for a judgement, but few enough that the comparison
follows a business that changes."""
FEWEST_WEEKS = 4
SLOT = timedelta(minutes=10)
LONGEST = timedelta(days=7)
"""Maximum length of the time span; a longer silence is judged like a silence of a week."""
UNUSUAL = 1e-4
"""An alarm is raised if the probability of the silence is below this value. There are 8,760 hourly
checks a year, so chance alone causes less than one alarm a year."""
WEEK = timedelta(days=7)

Span = tuple[datetime, datetime]

# Selects when the last event arrived. The events of our own test messages are left out.
LAST_EVENT = text("""
    SELECT e.received_at FROM webhook_event e
     WHERE e.received_at > :since AND e.received_at <= :now
       AND strpos(e.payload::text, :mark) = 0
     ORDER BY e.received_at DESC, e.id DESC LIMIT 1
""")
COUNT_SLOTS = text("""
    SELECT n.slots
      FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
           WITH ORDINALITY AS w (starts, ends, position)
     CROSS JOIN LATERAL (
         SELECT count(DISTINCT date_bin(:slot, e.received_at, timestamptz 'epoch')) AS slots
           FROM webhook_event e
          WHERE e.received_at > w.starts AND e.received_at <= w.ends
            AND strpos(e.payload::text, :mark) = 0) n
     ORDER BY w.position
""")


@dataclass(frozen=True, kw_only=True)
class SilenceJudgement:
    """Whether the time since the last event (the silence) is unusual, compared with earlier weeks.

    Attributes:
        counts: For each earlier week, the newest first: the number of ten-minute slots with an
            event.
        chance: The probability that the silence occurs although nothing is wrong. None if the
            silence was not judged.
        why_not: Why the silence was not judged; None if it was judged.
    """

    counts: tuple[int, ...]
    chance: float | None
    why_not: str | None = None

    @property
    def is_unusual(self) -> bool:
        """True if the silence is so improbable that it raises an alarm."""
        return self.chance is not None and self.chance < UNUSUAL


async def conclude_silence_check(uow: UnitOfWork, *, now: datetime) -> None:
    """Carry out a requested silence check, and store its result.

    The check examines whether the time since the last event is unusually long. If no check was
    requested, nothing happens.
    """
    check = await find_waiting_check(uow, WebhookHealthSide.SILENCE, locks=True)
    if check is not None:
        await conclude_check(uow, check, await _examine_silence(uow, now=now), now=now)


async def _examine_silence(uow: UnitOfWork, *, now: datetime) -> CheckResult:
    """Compare the time since the last event with the same hours of earlier weeks."""
    session = uow.session
    zone = await session.scalar(select(Line.timezone).order_by(Line.created_at, Line.id).limit(1))
    zone = zone or DEFAULT_TIMEZONE
    values = {"since": now - LONGEST, "mark": MARK, "now": now}
    since: datetime = await session.scalar(LAST_EVENT, values) or now - LONGEST
    first_at = await session.scalar(select(func.min(WebhookEvent.received_at)))
    spans = earlier_spans(since, now, first_at=first_at, zone=zone)
    found = await session.scalars(
        COUNT_SLOTS,
        {
            "starts": [s for s, _ in spans],
            "ends": [e for _, e in spans],
            "slot": SLOT,
            "mark": MARK,
        },
    )
    judged = judge_silence(found.all(), now=now, zone=zone)
    evidence = {
        "silent_since": format_instant(since),
        "earlier_weeks": list(judged.counts),
        "chance": judged.chance,
        "not_judged_because": judged.why_not,
    }
    if judged.chance is None or not judged.is_unusual:
        return CheckResult(evidence=evidence)
    usual = sum(judged.counts) / len(judged.counts)
    sentence = (
        f"No event has arrived since {format_instant(since)}. In the same hours of earlier weeks, "
        f"an event arrived in {usual:.0f} ten-minute slots on average. By chance alone, such a "
        f"silence occurs once in {1 / judged.chance:,.0f} times. `crm-api webhooks test` shows "
        "whether events reach this service."
    )
    return CheckResult(leg="silent", failure=sentence, evidence=evidence)


def earlier_spans(
    since: datetime, now: datetime, *, first_at: datetime | None, zone: str
) -> list[Span]:
    """Return the time span from ``since`` to ``now``, moved back by one week, two weeks and so on.

    The result has up to ``WEEKS`` spans, the newest first. If ``since`` is more than ``LONGEST``
    before ``now``, the span begins ``LONGEST`` before ``now``. Spans that begin before ``first_at``
    are left out.

    Args:
        first_at: When the oldest stored event arrived; None if no event is stored.
        zone: The IANA time zone in which the weekdays and hours are the same.
    """
    if first_at is None:
        return []
    local = ZoneInfo(zone)
    ends = [max(since, now - LONGEST).astimezone(local), now.astimezone(local)]
    spans = []
    for week in range(1, WEEKS + 1):
        begin, end = [(at - week * WEEK).astimezone(UTC) for at in ends]
        if begin >= first_at:
            spans.append((begin, end))
    return spans


def judge_silence(counts: Sequence[int], *, now: datetime, zone: str) -> SilenceJudgement:
    """Judge whether the time since the last event is unusually long, compared with earlier weeks.

    A silence is not judged on a federal holiday, or with fewer than ``FEWEST_WEEKS`` earlier weeks.

    Args:
        counts: For each earlier week, the newest first: the number of ten-minute slots with an
            event.
        now: The end of the silence.
        zone: The IANA time zone that decides whether today is a holiday.
    """
    slots, chance, why_not = tuple(counts), None, None
    if len(slots) < FEWEST_WEEKS:
        why_not = "less than four weeks are on record"
    elif is_federal_holiday(now.astimezone(ZoneInfo(zone)).date()):
        why_not = "it is a federal holiday"
    else:
        chance = chance_of_none(slots)
    return SilenceJudgement(counts=slots, chance=chance, why_not=why_not)


def chance_of_none(counts: Sequence[int]) -> float:
    """Return the probability that no event arrives in a time span, although nothing is wrong.

    The probability is estimated from the same time span in earlier weeks, with a Poisson
    distribution and Jeffreys' prior: ``(n / (n + 1)) ** (total / dispersion + 1/2)``. ``n`` is the
    number of weeks, ``total`` the sum of ``counts``, and ``dispersion`` the variance divided by the
    mean, at least 1. The result is 1 if no event arrived in the earlier weeks, or if there are no
    earlier weeks.

    Args:
        counts: For each earlier week: the number of ten-minute slots with an event.
    """
    weeks, total = len(counts), sum(counts)
    if weeks == 0 or total == 0:
        return 1.0
    mean = total / weeks
    spread = sum((count - mean) ** 2 for count in counts) / max(weeks - 1, 1)
    dispersion = max(1.0, spread / mean)
    return float((weeks / (weeks + 1)) ** (total / dispersion + 0.5))

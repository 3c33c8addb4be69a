"""Looks whether the present silence is a usual one."""

from datetime import datetime

from crm_api.db import UnitOfWork
from crm_api.domain.lines.models import DEFAULT_TIMEZONE
from crm_api.domain.schemas import format_instant
from crm_api.domain.webhook_health import queries, service, silence
from crm_api.domain.webhook_health.models import Side
from crm_api.domain.webhook_health.own_text import MARK
from crm_api.domain.webhook_health.service import Conclusion


async def look(uow: UnitOfWork, *, now: datetime) -> None:
    """Conclude the look at the silence that waits, if one does."""
    waiting = await queries.lock_waiting(uow.session, Side.SILENCE)
    if waiting is None:
        return
    found = await examine(uow, now=now)
    await service.conclude(uow, check_id=waiting.id, side=Side.SILENCE, found=found, now=now)


async def examine(uow: UnitOfWork, *, now: datetime) -> Conclusion:
    """Compare the time since the last event with the same stretch of earlier weeks."""
    zone = await queries.zone_of_lines(uow.session) or DEFAULT_TIMEZONE
    earliest = now - silence.LONGEST
    last_at = await queries.last_event_at(uow.session, since=earliest, mark=MARK, now=now)
    since = last_at or earliest
    first_at = await queries.first_event_at(uow.session)
    spans = silence.earlier_spans(since, now, first_at=first_at, zone=zone)
    counts = (
        await queries.count_slots(uow.session, spans, slot=silence.SLOT, mark=MARK) if spans else []
    )
    verdict = silence.judge(counts, now=now, zone=zone)
    evidence = {
        "silent_since": format_instant(since),
        "earlier_weeks": list(verdict.counts),
        "chance": verdict.chance,
        "not_judged_because": verdict.why_not,
    }
    if verdict.chance is None or not verdict.is_unusual:
        return Conclusion(evidence=evidence)
    usual = sum(verdict.counts) / len(verdict.counts)
    sentence = (
        f"No event has come since {format_instant(since)}. In the same stretch of the weeks before "
        f"something came in {usual:.0f} slots of ten minutes on average; by chance alone nothing "
        f"comes once in {1 / verdict.chance:,.0f}. `crm-api webhooks test` shows whether events "
        "reach this service."
    )
    return Conclusion(leg="silent", failure=sentence, evidence=evidence)

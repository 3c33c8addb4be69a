"""Check sending: do messages leave, do outcomes become clear, do reports arrive."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.domain.alerts import circuits
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.campaigns.explain import standstill
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.monitoring.watchdog.findings import Finding, settle_alerts
from crm_api.platform.database import UnitOfWork, typed_row

NOTHING_SENT_AFTER = timedelta(minutes=15)
"""The worker plans each minute; campaigns held back by pace or hours are not counted."""
LATE_AFTER = timedelta(minutes=5)
"""An opt-out's confirmation must leave within five minutes."""
GRACES = 3
"""Graces until an unclear send is reported: two complete look-ups fit easily."""
REPORTED_WITHIN = timedelta(minutes=15)
FEWEST_UNREPORTED = 20
"""Each accepted message usually causes an event; so many without one are not chance."""
UNREPORTED_SINCE = timedelta(days=1)
PATIENCE = timedelta(minutes=2)
"""Time to catch up after an outage."""


async def check_sending(
    uow: UnitOfWork, *, rules: RuleBook, business: Business, times: SendTimes, now: datetime
) -> None:
    """Run all checks; while the provider is down, its own alert is enough for some of them."""
    is_down = (await circuits.read_circuit(uow, circuits.PROVIDER)).is_open
    nothing_sent = (
        []
        if is_down
        else [
            _standstill(one)
            for one in await standstill.find_standstills(
                uow, after=NOTHING_SENT_AFTER, rules=rules, business=business, times=times, now=now
            )
        ]
    )
    await settle_alerts(
        uow, AlertKind.NOTHING_SENT, nothing_sent, patience=NOTHING_SENT_AFTER - PATIENCE, now=now
    )
    late = [] if is_down else await _late(uow, now=now)
    await settle_alerts(uow, AlertKind.TEXTS_LATE, late, patience=PATIENCE, now=now)
    unclear = await _unclear(uow, times=times, now=now)
    await settle_alerts(uow, AlertKind.SENDS_UNCLEAR, unclear, patience=PATIENCE, now=now)
    await settle_alerts(uow, AlertKind.NO_REPORTS, await _unreported(uow, now=now), now=now)


def _standstill(one: standstill.Standstill) -> Finding:
    path = f"/v1/campaigns/{one.campaign_id}/recipients/{one.contact_id}/explain"
    return Finding(
        subject=str(one.campaign_id),
        detail=f"Nothing of the campaign {one.name!r} was sent for a quarter of an hour, though a "
        f"message has been due since {_clock(one.due_at)} and no rule holds it back. See "
        f"process_campaign_queue in GET /v1/scheduled-jobs, the worker's log, and GET {path}.",
        context={"contact_id": str(one.contact_id), "path": path},
    )


@dataclass(frozen=True, slots=True)
class MessageCount:
    """Number of messages, and when the first of them was due, called or accepted."""

    texts: int
    since: datetime | None


# Messages of a blocked line are left out: the line has its own alert.
WAITS_FOR_LONG = text("""
    SELECT count(*) AS texts, min(t.send_after) AS since
    FROM activity t JOIN line l ON l.id = t.line_id
    WHERE t.status = 'queued' AND t.send_after < :before AND l.status = 'active'
""")


async def _late(uow: UnitOfWork, *, now: datetime) -> list[Finding]:
    late = typed_row(
        MessageCount,
        (await uow.session.execute(WAITS_FOR_LONG, {"before": now - LATE_AFTER})).one(),
    )
    if not late.texts:
        return []
    return [
        Finding(
            subject="texts",
            detail=f"{late.texts} replies, confirmations or tests wait to be sent, the first since "
            f"{_clock(late.since)}, and no rule holds them back. See send_messages in GET "
            "/v1/scheduled-jobs, and the worker's log.",
            context={"texts": late.texts},
        )
    ]


UNCLEAR_FOR_LONG = text("""
    SELECT count(*) AS texts, min(a.called_at) AS since FROM send_attempt a
    WHERE a.is_open AND a.status = 'unknown' AND a.called_at < :before
""")


async def _unclear(uow: UnitOfWork, *, times: SendTimes, now: datetime) -> list[Finding]:
    values = {"before": now - GRACES * times.grace}
    old = typed_row(MessageCount, (await uow.session.execute(UNCLEAR_FOR_LONG, values)).one())
    if not old.texts:
        return []
    return [
        Finding(
            subject="sends",
            detail=f"The outcome of {old.texts} messages is unclear, of the first since "
            f"{_clock(old.since)}; look-ups at the provider should have settled it by now. Nothing "
            "is sent again meanwhile. See resolve_unknown_sends in GET /v1/scheduled-jobs, and in "
            "GET /v1/alerts whether the provider is down or its list lags.",
            context={"texts": old.texts},
        )
    ]


LAST_EVENT_AT = text("SELECT max(received_at) FROM webhook_event")

ACCEPTED_BETWEEN = text("""
    SELECT CAST(coalesce(sum(a.texts), 0) AS bigint) AS texts, min(a.since) AS since
    FROM line l
    CROSS JOIN LATERAL (
        SELECT count(*) AS texts, min(a.accepted_at) AS since FROM send_attempt a
        WHERE a.line_id = l.id AND a.accepted_at > :since AND a.accepted_at < :until
    ) a
""")


async def _unreported(uow: UnitOfWork, *, now: datetime) -> list[Finding]:
    last_at: datetime | None = await uow.session.scalar(LAST_EVENT_AT)
    since = max(filter(None, (last_at, now - UNREPORTED_SINCE)))
    values = {"since": since, "until": now - REPORTED_WITHIN}
    sent = typed_row(MessageCount, (await uow.session.execute(ACCEPTED_BETWEEN, values)).one())
    if sent.texts < FEWEST_UNREPORTED:
        return []
    return [
        Finding(
            subject="webhooks",
            detail=f"The provider has accepted {sent.texts} messages since {_clock(sent.since)}, "
            "and no event has come since: no delivery, no reply, no STOP. See `crm-api webhooks "
            "list`; `crm-api webhooks test` shows the answer that the provider gets.",
            context={"texts": int(sent.texts)},
        )
    ]


def _clock(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"

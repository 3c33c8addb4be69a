"""Check that due messages are sent, that their results become known, and that events arrive."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.domain.alerts import circuits
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.campaigns.explain import service as explaining
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.monitoring.watchdog.findings import Finding, settle_alerts
from crm_api.platform.database import UnitOfWork, typed_row

NOTHING_SENT_AFTER = timedelta(minutes=15)
"""How long a campaign may send nothing, although a message is due and every rule allows it. After
this time, an alert is raised."""
LATE_AFTER = timedelta(minutes=5)
"""How long a message that belongs to no campaign may wait after it is due. For example, the
confirmation of an opt-out must be sent within five minutes."""
GRACES = 3
"""How long it may be unclear whether a message was sent, as a multiple of ``SendTimes.grace``. In
this time, two complete look-ups at the provider are possible."""
REPORTED_WITHIN = timedelta(minutes=15)
"""How long the events about a message may take to arrive after the provider has accepted the
message."""
FEWEST_UNREPORTED = 20
"""If the provider has accepted at least this many messages and no event about them has arrived, an
alert is raised. Usually each accepted message causes an event, so this cannot be chance."""
UNREPORTED_SINCE = timedelta(days=1)
"""Messages that the provider accepted longer ago than this are not counted."""
PATIENCE = timedelta(minutes=2)
"""How long a problem must last before an alert is raised. In this time, the service can catch up
after an outage."""


async def check_sending(
    uow: UnitOfWork, *, rules: RuleBook, business: Business, times: SendTimes, now: datetime
) -> None:
    """Run all checks of sending, and raise and resolve their alerts.

    While the provider is down, campaigns and queued messages are not checked, because the alert
    about the provider is enough.
    """
    is_down = (await circuits.read_circuit(uow, circuits.PROVIDER)).is_open
    nothing_sent = (
        []
        if is_down
        else [
            _standstill(one)
            for one in await explaining.find_standstills(
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


def _standstill(one: explaining.Standstill) -> Finding:
    path = f"/v1/campaigns/{one.campaign_id}/recipients/{one.contact_id}/explain"
    return Finding(
        subject=str(one.campaign_id),
        detail=f"The campaign {one.name!r} has sent nothing for a quarter of an hour, although a "
        f"message has been due since {_clock(one.due_at)} and every rule allows it. Look at "
        f"process_campaign_queue in GET /v1/scheduled-jobs, at the worker's log, and at GET "
        f"{path}.",
        context={"contact_id": str(one.contact_id), "path": path},
    )


@dataclass(frozen=True, slots=True)
class MessageCount:
    """How many messages a check found, and the time of the first of them.

    Attributes:
        since: When the first message was due, sent or accepted (each check decides which); None if
            there is no message.
    """

    texts: int
    since: datetime | None


# Messages of a blocked phone line are left out, because a blocked line has its own alert.
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
            detail=f"{late.texts} replies, confirmations or tests are waiting to be sent, the "
            f"first since {_clock(late.since)}, although every rule allows them. Look at "
            "send_messages in GET /v1/scheduled-jobs, and at the worker's log.",
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
            detail=f"It is unclear whether {old.texts} messages were sent, the first at "
            f"{_clock(old.since)}. Look-ups at the provider should have found out by now. The "
            "messages are not sent again meanwhile. Look at resolve_unknown_sends in GET "
            "/v1/scheduled-jobs, and at GET /v1/alerts: is the provider down, or does its list "
            "lag?",
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
            "but no event has arrived since then: no delivery, no reply, no STOP. Run `crm-api "
            "webhooks list`, and `crm-api webhooks test`, which shows how this service responds to "
            "the provider.",
            context={"texts": int(sent.texts)},
        )
    ]


def _clock(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"

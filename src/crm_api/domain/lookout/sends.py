"""Looks at texts: do they leave, does their end become clear, does anybody tell of them."""

from datetime import datetime, timedelta

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import standstill
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.lookout import statements as sql
from crm_api.domain.lookout.findings import Finding, settle
from crm_api.domain.operations import circuits
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.sends.times import SendTimes

NOTHING_SENT_AFTER = timedelta(minutes=15)
"""The worker looks at the queue each minute; a pace or an hour that forbids it does not count."""
LATE_AFTER = timedelta(minutes=5)
"""An opt-out's confirmation must leave within five minutes."""
GRACES = 3
"""By then two complete look-ups after the grace are long over."""
REPORTED_WITHIN = timedelta(minutes=15)
FEWEST_UNREPORTED = 20
"""Each accepted text brings an event as a rule; so many without one are no chance."""
UNREPORTED_SINCE = timedelta(days=1)
PATIENCE = timedelta(minutes=2)
"""What an outage left behind is caught up with by then."""


async def look(
    uow: UnitOfWork, *, rules: RuleBook, business: Business, times: SendTimes, now: datetime
) -> None:
    """Look at all of it. While the provider is down that alert stands, and no other is needed."""
    is_down = (await circuits.read(uow, circuits.PROVIDER)).is_open
    nothing_sent = (
        []
        if is_down
        else [
            _told_still(one)
            for one in await standstill.find(
                uow, after=NOTHING_SENT_AFTER, rules=rules, business=business, times=times, now=now
            )
        ]
    )
    await settle(
        uow, AlertKind.NOTHING_SENT, nothing_sent, patience=NOTHING_SENT_AFTER - PATIENCE, now=now
    )
    late = [] if is_down else await _late(uow, now=now)
    await settle(uow, AlertKind.TEXTS_LATE, late, patience=PATIENCE, now=now)
    unclear = await _unclear(uow, times=times, now=now)
    await settle(uow, AlertKind.SENDS_UNCLEAR, unclear, patience=PATIENCE, now=now)
    await settle(uow, AlertKind.NO_REPORTS, await _unreported(uow, now=now), now=now)


def _told_still(one: standstill.Standstill) -> Finding:
    path = f"/v1/campaigns/{one.campaign_id}/recipients/{one.contact_id}/explain"
    return Finding(
        subject=str(one.campaign_id),
        detail=f"Nothing of the campaign {one.name!r} was sent for a quarter of an hour, though a "
        f"text has been due since {_clock(one.due_at)} and no rule holds it back. See "
        f"process_campaign_queue in GET /v1/scheduled-jobs, the worker's log, and GET {path}.",
        context={"contact_id": str(one.contact_id), "path": path},
    )


async def _late(uow: UnitOfWork, *, now: datetime) -> list[Finding]:
    row = (await uow.session.execute(sql.WAITS_FOR_LONG, {"before": now - LATE_AFTER})).one()
    if not row.texts:
        return []
    return [
        Finding(
            subject="texts",
            detail=f"{row.texts} replies, confirmations or tests wait to be sent, the first since "
            f"{_clock(row.since)}, and no rule holds them back. See send_messages in GET "
            "/v1/scheduled-jobs, and the worker's log.",
            context={"texts": row.texts},
        )
    ]


async def _unclear(uow: UnitOfWork, *, times: SendTimes, now: datetime) -> list[Finding]:
    values = {"before": now - GRACES * times.grace}
    row = (await uow.session.execute(sql.UNCLEAR_FOR_LONG, values)).one()
    if not row.texts:
        return []
    return [
        Finding(
            subject="sends",
            detail=f"Of {row.texts} texts it is not known whether they left, of the first since "
            f"{_clock(row.since)}; look-ups at the provider should have told by now. Nothing is "
            "sent again meanwhile. See resolve_unknown_sends in GET /v1/scheduled-jobs, and "
            "whether the provider is down or its list lags in GET /v1/alerts.",
            context={"texts": row.texts},
        )
    ]


async def _unreported(uow: UnitOfWork, *, now: datetime) -> list[Finding]:
    last_at: datetime | None = await uow.session.scalar(sql.LAST_EVENT_AT)
    since = max(filter(None, (last_at, now - UNREPORTED_SINCE)))
    values = {"since": since, "until": now - REPORTED_WITHIN}
    row = (await uow.session.execute(sql.ACCEPTED_BETWEEN, values)).one()
    if row.texts < FEWEST_UNREPORTED:
        return []
    return [
        Finding(
            subject="webhooks",
            detail=f"The provider has accepted {row.texts} texts since {_clock(row.since)}, and no "
            "event has come since: no delivery, no reply, no STOP. See `crm-api webhooks list`; "
            "`crm-api webhooks test` shows what the provider gets for an answer.",
            context={"texts": int(row.texts)},
        )
    ]


def _clock(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"

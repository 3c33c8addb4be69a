"""Check that approved quotes get an appointment, and that calendars are synchronised."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.monitoring.watchdog.findings import Finding, settle_alerts
from crm_api.domain.sales.billing.waiting_money import NOT_OLDER, UNSCHEDULED
from crm_api.domain.sales.calendar_accounts.models import CalendarAccount
from crm_api.platform.database import UnitOfWork, typed_rows

SCHEDULED_WITHIN = timedelta(days=2)
"""How long after the approval of a quote its contact may be without an appointment. After this
time, an alert is raised."""
MOST_ALERTS = 50
"""The largest number of quotes that have an alert at the same time."""


async def check_quotes(uow: UnitOfWork, *, now: datetime) -> None:
    """Raise an alert for each approved quote that has waited too long for an appointment.

    ``find_waiting_quotes`` selects these quotes. The alerts of all other quotes are resolved.
    """
    waiting = await find_waiting_quotes(uow, now=now)
    found = [
        Finding(
            subject=str(one.id),
            detail=f"The quote {one.number} was approved on {one.status_at:%Y-%m-%d}, and its "
            "contact has no appointment since then. Book one with POST /v1/appointments, or set "
            "the quote to `declined`.",
            context={"contact_id": str(one.contact_id), "number": one.number},
        )
        for one in waiting
    ]
    await settle_alerts(uow, AlertKind.QUOTE_UNSCHEDULED, found, now=now)


@dataclass(frozen=True, slots=True)
class WaitingQuote:
    """An approved quote whose contact has no appointment.

    Attributes:
        status_at: When the quote was approved.
    """

    id: UUID
    number: str
    contact_id: UUID
    status_at: datetime


WAITING_QUOTES = text(f"""
    SELECT q.id, q.number, q.contact_id, q.status_at
    FROM quote q
    WHERE {UNSCHEDULED}
    ORDER BY q.status_at, q.id LIMIT :most
""")


async def find_waiting_quotes(uow: UnitOfWork, *, now: datetime) -> list[WaitingQuote]:
    """Return the approved quotes that have waited for an appointment for two days or longer.

    A quote waits while its contact has no appointment that ends after the approval. Cancelled and
    missed appointments do not count. Quotes approved over a year ago are left out. At most
    ``MOST_ALERTS`` quotes are returned, oldest approval first.
    """
    values = {"before": now - SCHEDULED_WITHIN, "since": now - NOT_OLDER, "most": MOST_ALERTS}
    return typed_rows(WaitingQuote, await uow.session.execute(WAITING_QUOTES, values))


MOST_FAILURES = 6
"""If this many synchronisations of a calendar have failed in a row, an alert is raised. The pauses
between the synchronisations grow, so this takes about an hour."""


async def check_calendars(uow: UnitOfWork, *, now: datetime) -> None:
    """Raise an alert for each calendar whose synchronisation has failed for about an hour.

    The alerts of all other calendars are resolved.
    """
    failing = await uow.session.scalars(
        select(CalendarAccount)
        .where(CalendarAccount.failures >= MOST_FAILURES)
        .order_by(CalendarAccount.id)
    )
    found = [
        Finding(
            subject=str(one.id),
            detail=f"The calendar {one.name!r} has not been synchronised for about an hour. See "
            f"`error` in GET /v1/calendar-accounts/{one.id}: {one.error}",
        )
        for one in failing
    ]
    await settle_alerts(uow, AlertKind.CALENDAR_FAILING, found, now=now)

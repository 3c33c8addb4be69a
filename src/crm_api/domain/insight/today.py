"""Build the response for the console's first screen: money, people, tasks, appointments and so on.

Each part of the screen is read by a function of another package. For example, ``people.tasks``
reads the due tasks. If the caller does not have the scope for a part, this part is not read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.models import AlertStatus
from crm_api.domain.alerts.schemas import AlertRead
from crm_api.domain.campaigns import campaign_list
from crm_api.domain.campaigns.read_models import CampaignItem
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.identity.preferences import service as preferences
from crm_api.domain.kit.examples import NOW, example
from crm_api.domain.kit.schemas import Instant, ReadModel
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.lines.schemas import LineRead
from crm_api.domain.messaging.models.conversations import ConversationState
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.office.inbox import listing as inbox
from crm_api.domain.office.inbox import tallies
from crm_api.domain.office.inbox.schemas import ConversationCounts, ConversationRead
from crm_api.domain.office.inbox.selection import InboxFilter, InboxSort
from crm_api.domain.people.tasks import service as tasks
from crm_api.domain.people.tasks.schemas import TaskRead
from crm_api.domain.sales.appointments import listing as appointments
from crm_api.domain.sales.appointments.models import BUSY
from crm_api.domain.sales.appointments.schemas import AppointmentRead
from crm_api.domain.sales.billing.schemas import InvoiceRead, QuoteRead
from crm_api.domain.sales.billing.waiting_money import WaitingSum, read_waiting_money
from crm_api.domain.sales.outcomes.models import CURRENCY
from crm_api.platform.database import UnitOfWork


class MoneySum(ReadModel):
    """A sum of money in one currency.

    Attributes:
        currency: The currency.
        count: The number of quotes or invoices.
        amount_cents: The sum of the amounts of the quotes or invoices, in cents.
    """

    model_config = example(currency=CURRENCY, count=2, amount_cents=2750000)

    currency: str
    count: int
    amount_cents: int


class WaitingQuotes(ReadModel):
    """Quotes that were approved in the last 365 days, without an appointment since the approval.

    Attributes:
        count: The number of approved quotes without an appointment.
        sums: The sums of the amounts of all these quotes, one sum for each currency.
        first: Up to five approved quotes without an appointment, the earliest approval first.
    """

    model_config = example(count=2)

    count: int
    sums: list[MoneySum]
    first: list[QuoteRead]


class WaitingInvoices(ReadModel):
    """Invoices that are not paid.

    Attributes:
        count: The number of unpaid invoices.
        sums: The sums of the amounts of all unpaid invoices, one sum for each currency.
        first: Up to five unpaid invoices, the oldest first.
    """

    model_config = example(count=2)

    count: int
    sums: list[MoneySum]
    first: list[InvoiceRead]


class TodayMoney(ReadModel):
    """Money that can be earned or collected.

    Attributes:
        approved_quotes: Approved quotes without an appointment.
        unpaid_invoices: Invoices that are not paid.
    """

    approved_quotes: WaitingQuotes
    unpaid_invoices: WaitingInvoices


class TodayPeople(ReadModel):
    """The people who wait for an answer.

    Attributes:
        counts: How many conversations each list of the inbox has, such as `waiting` or `mine`.
        waiting_longest: The conversations whose people have waited longest; up to eight.
    """

    counts: ConversationCounts
    waiting_longest: list[ConversationRead]


class TodayTasks(ReadModel):
    """Open tasks that are due before the end of the day: your tasks, and tasks without an assignee.

    Attributes:
        due: The number of these tasks, including overdue tasks.
        overdue: The number of these tasks that were due before now.
        first: Up to 20 of these tasks, the earliest due first.
    """

    model_config = example(due=4, overdue=1)

    due: int
    overdue: int
    first: list[TaskRead]


class TodayRead(ReadModel):
    """The data of the console's first screen. A part is null if you do not have the scope for it.

    Attributes:
        as_of: When the response was computed.
        timezone: The IANA time zone of `day`.
        day: Today's date in `timezone`.
        money: Approved quotes without an appointment, and unpaid invoices. Needs `sales:read`.
        people: The people who wait for an answer. Needs `messages:read`.
        tasks: The tasks that are due. Needs `contacts:read`.
        appointments: The day's booked or held appointments of all users, the earliest first; up to
            100. Needs `sales:read`.
        campaigns: Up to 20 started campaigns, neither over nor archived. Running ones come first,
            then the others; both newest first. Needs `campaigns:read`.
        lines: Up to 100 lines, with `sent_today`, `limit_today` and `remaining_today`. Needs
            `campaigns:read`.
        alerts: Open alerts, the most recently raised first; up to 20. Needs `operations`.
    """

    model_config = example(as_of=NOW, timezone="America/New_York", day="2026-11-30")

    as_of: Instant
    timezone: str
    day: date
    money: TodayMoney | None
    people: TodayPeople | None
    tasks: TodayTasks | None
    appointments: list[AppointmentRead] | None
    campaigns: list[CampaignItem] | None
    lines: list[LineRead] | None
    alerts: list[AlertRead] | None


MOST_BILLS = 5
MOST_PEOPLE = 8
MOST_TASKS = 20
MOST_APPOINTMENTS = 100
MOST_CAMPAIGNS = 20
MOST_LINES = 100
MOST_ALERTS = 20


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """The caller who gets the first screen of the web console.

    Attributes:
        id: The id of the user or the API key.
        user_id: The id of the user; None if the caller is an API key.
        may: A function that returns whether the caller has a scope.
    """

    id: UUID
    user_id: UUID | None
    may: Callable[[Scope], bool]


@dataclass(frozen=True, kw_only=True)
class Day:
    """A day in a time zone, from ``start`` until ``end``, exclusive."""

    start: datetime
    end: datetime


async def zone_of(uow: UnitOfWork, viewer: Viewer) -> str:
    """Return the time zone that is set in the caller's preferences; UTC if none is set."""
    if viewer.user_id is None:
        return "UTC"
    found = await preferences.read_preferences(uow, user_id=viewer.user_id)
    return (found and found.timezone) or "UTC"


async def read_today(
    uow: UnitOfWork, viewer: Viewer, *, timezone: str | None, times: SendTimes, now: datetime
) -> TodayRead:
    """Return the parts of the first screen that the caller may see.

    The parts need at most 16 SQL statements, however many rows there are. If ``timezone`` is None,
    one more statement reads the preferences of the user.

    Args:
        timezone: The IANA time zone of the day. If None, the time zone in the caller's preferences
            is used; if the preferences have none, UTC.
    """
    timezone = timezone or await zone_of(uow, viewer)
    zone = ZoneInfo(timezone)
    day = _day_of(now, zone)
    sells, plans = viewer.may(Scope.SALES_READ), viewer.may(Scope.CAMPAIGNS_READ)
    return TodayRead(
        as_of=now,
        timezone=timezone,
        day=now.astimezone(zone).date(),
        money=await _money(uow, now=now) if sells else None,
        people=await _people(uow, viewer, now=now) if viewer.may(Scope.MESSAGES_READ) else None,
        tasks=await _tasks(uow, viewer, day, now=now) if viewer.may(Scope.CONTACTS_READ) else None,
        appointments=await _appointments(uow, day) if sells else None,
        campaigns=await _campaigns(uow) if plans else None,
        lines=await _lines(uow, times=times, now=now) if plans else None,
        alerts=await _alerts(uow) if viewer.may(Scope.OPERATIONS) else None,
    )


def _day_of(now: datetime, zone: ZoneInfo) -> Day:
    """Return the day that contains an instant, in a time zone.

    A day on which the clocks change has 23 or 25 hours.
    """
    today = now.astimezone(zone).date()
    start, end = (
        datetime.combine(one, time.min, zone).astimezone(UTC)
        for one in (today, today + timedelta(days=1))
    )
    return Day(start=start, end=end)


async def _money(uow: UnitOfWork, *, now: datetime) -> TodayMoney:
    found = await read_waiting_money(uow, most=MOST_BILLS, now=now)
    quotes = [one for one in found.sums if one.kind == "quote"]
    invoices = [one for one in found.sums if one.kind == "invoice"]
    return TodayMoney(
        approved_quotes=WaitingQuotes(
            count=sum(one.count for one in quotes),
            sums=_sums(quotes),
            first=[QuoteRead.model_validate(one) for one in found.quotes],
        ),
        unpaid_invoices=WaitingInvoices(
            count=sum(one.count for one in invoices),
            sums=_sums(invoices),
            first=[InvoiceRead.model_validate(one) for one in found.invoices],
        ),
    )


def _sums(found: Sequence[WaitingSum]) -> list[MoneySum]:
    return [MoneySum.model_validate(one) for one in found]


async def _people(uow: UnitOfWork, viewer: Viewer, *, now: datetime) -> TodayPeople:
    counts = await tallies.count_conversations(uow, caller_id=viewer.id)
    longest = await inbox.list_conversations(
        uow,
        InboxFilter(states=(ConversationState.WAITING,)),
        sort=InboxSort.WAITING_LONGEST,
        caller_id=viewer.id,
        cursor=None,
        limit=MOST_PEOPLE,
        now=now,
    )
    return TodayPeople(
        counts=ConversationCounts.model_validate(counts),
        waiting_longest=[ConversationRead.of(row) for row in longest.data],
    )


async def _tasks(uow: UnitOfWork, viewer: Viewer, day: Day, *, now: datetime) -> TodayTasks:
    found = await tasks.read_due_tasks(
        uow, user_id=viewer.user_id, until=day.end, most=MOST_TASKS, now=now
    )
    return TodayTasks(
        due=found.due, overdue=found.overdue, first=[TaskRead.of(one) for one in found.first]
    )


async def _appointments(uow: UnitOfWork, day: Day) -> list[AppointmentRead]:
    wanted = appointments.AppointmentFilter(starting=day.start, ending=day.end, statuses=BUSY)
    found = await appointments.list_appointments(uow, wanted, cursor=None, limit=MOST_APPOINTMENTS)
    return [AppointmentRead.of(one) for one in found.data]


async def _campaigns(uow: UnitOfWork) -> list[CampaignItem]:
    found = await campaign_list.list_current_campaigns(uow, most=MOST_CAMPAIGNS)
    return [CampaignItem.of_listed(one) for one in found]


async def _lines(uow: UnitOfWork, *, times: SendTimes, now: datetime) -> list[LineRead]:
    found = await lines.list_lines(uow, cursor=None, limit=MOST_LINES, times=times, now=now)
    return [LineRead.of(line) for line in found.data]


async def _alerts(uow: UnitOfWork) -> list[AlertRead]:
    found = await alerts.list_alerts(uow, status=AlertStatus.OPEN, cursor=None, limit=MOST_ALERTS)
    return [AlertRead.model_validate(alert) for alert in found.data]

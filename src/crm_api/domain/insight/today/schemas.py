"""Response models of the first screen."""

from datetime import date

from crm_api.domain.alerts.schemas import AlertRead
from crm_api.domain.campaigns.answers import CampaignItem
from crm_api.domain.kit.examples import NOW, example
from crm_api.domain.kit.schemas import Instant, ReadModel
from crm_api.domain.messaging.lines.schemas import LineRead
from crm_api.domain.office.inbox.schemas import ConversationCounts, ConversationRead
from crm_api.domain.people.tasks.schemas import TaskRead
from crm_api.domain.sales.appointments.schemas import AppointmentRead
from crm_api.domain.sales.billing.schemas import InvoiceRead, QuoteRead
from crm_api.domain.sales.outcomes.models import CURRENCY


class MoneySum(ReadModel):
    """A sum of money in one currency.

    Attributes:
        currency: The currency.
        count: The number of quotes or invoices.
        amount_cents: The sum of their amounts, in cents.
    """

    model_config = example(currency=CURRENCY, count=2, amount_cents=2750000)

    currency: str
    count: int
    amount_cents: int


class WaitingQuotes(ReadModel):
    """Quotes that were approved in the last 365 days, without an appointment since the approval.

    Attributes:
        count: The number of these quotes.
        sums: The sums of their amounts, by currency.
        first: Up to five of these quotes, in the order of their approval.
    """

    model_config = example(count=2)

    count: int
    sums: list[MoneySum]
    first: list[QuoteRead]


class WaitingInvoices(ReadModel):
    """Invoices that are not paid.

    Attributes:
        count: The number of these invoices.
        sums: The sums of their amounts, by currency.
        first: Up to five of these invoices, the oldest first.
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
        counts: The counts of the inbox.
        waiting_longest: Up to eight conversations whose people have waited longest.
    """

    counts: ConversationCounts
    waiting_longest: list[ConversationRead]


class TodayTasks(ReadModel):
    """Open tasks that are due before the end of the day: yours, and those without an assignee.

    Attributes:
        due: The number of your open tasks, and of those without an assignee, that are due before
            the end of the day. Overdue tasks are included.
        overdue: The number of tasks in `due` that were due before now.
        first: Up to 20 of the tasks in `due`, the earliest due first.
    """

    model_config = example(due=4, overdue=1)

    due: int
    overdue: int
    first: list[TaskRead]


class TodayRead(ReadModel):
    """What waits, what is due and what runs. A part is null if you do not have its scope.

    Attributes:
        as_of: When the response was computed.
        timezone: The IANA time zone of the day.
        day: The day, in this time zone.
        money: Approved quotes without an appointment, and unpaid invoices. Needs `sales:read`.
        people: The people who wait for an answer. Needs `messages:read`.
        tasks: The tasks that are due. Needs `contacts:read`.
        appointments: The appointments of the day that are booked or were held, of all users, the
            earliest first; up to 100. Needs `sales:read`.
        campaigns: The campaigns that were started and are not over, the running ones first, then
            the newest first; up to 20. Archived ones are left out. Needs `campaigns:read`.
        lines: The phone lines, with `sent_today`, `limit_today` and `remaining_today`; up to 100.
            Needs `campaigns:read`.
        alerts: The alerts that are open, the most recently raised first; up to 20. Needs
            `operations`.
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

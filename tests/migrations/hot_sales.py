"""Queries on appointments, reminders, quotes, invoices and calendars that must use an index."""

from datetime import timedelta

from sqlalchemy import delete, select
from tests.migrations.filling import NOON, made_id
from tests.migrations.hot import CONTACT, PLACE, Hot, use_case
from tests.migrations.support import Call

from crm_api.domain.kit.paging import Cursors, TimePosition, newest_first
from crm_api.domain.monitoring.watchdog.sales import WAITING_QUOTES
from crm_api.domain.sales.appointments.booking import WITHDRAW_REMINDERS, overlap_statement
from crm_api.domain.sales.appointments.free_times import BUSY_TIMES
from crm_api.domain.sales.appointments.listing import AppointmentFilter, appointments_statement
from crm_api.domain.sales.billing.bills import INVOICES, QUOTES, Bill, BillKind, bills_statement
from crm_api.domain.sales.billing.models import InvoiceStatus
from crm_api.domain.sales.billing.schemas import BillFilter
from crm_api.domain.sales.billing.waiting_money import FIRST_INVOICES, FIRST_QUOTES, SUMS
from crm_api.domain.sales.calendar_accounts.models import (
    CalendarAccount,
    CalendarBusyTime,
    CalendarEvent,
)
from crm_api.domain.sales.calendar_accounts.pull import known_event_statement
from crm_api.domain.sales.calendar_accounts.service import list_accounts
from crm_api.domain.sales.calendars.feeds import FIND_FEED, feed_statement, list_feeds
from crm_api.domain.sales.reminders.rules import list_rules
from crm_api.domain.sales.reminders.sending import DUE_REMINDERS, WITHDRAW_LATE

DAY = timedelta(days=1)
YEAR = {"before": NOON, "since": NOON - 365 * DAY}


def _appointments(name: str, index: str, wanted: AppointmentFilter) -> Hot:
    statement = appointments_statement(wanted, after=PLACE, limit=51)
    return Hot(name, {index}, lambda s: s.execute(statement))


def _bills(kind: BillKind[Bill], wanted: BillFilter, *, after: TimePosition | None) -> Call:
    statement, table = bills_statement(kind, wanted), kind.table
    page = newest_first(statement, table.created_at, table.id, after=after, limit=51)
    return lambda s: s.execute(page)


OVERLAP = overlap_statement(
    assignee_id=made_id("user", 7), starts_at=NOON, ends_at=NOON + DAY, except_id=CONTACT
)
APPOINTMENTS = [
    _appointments("all appointments", "idx_appointment_start", AppointmentFilter()),
    _appointments(
        "appointments of a day",
        "idx_appointment_start",
        AppointmentFilter(starting=NOON, ending=NOON + DAY),
    ),
    _appointments(
        "appointments of a user",
        "idx_appointment_assignee",
        AppointmentFilter(assignee=made_id("user", 7)),
    ),
    _appointments(
        "appointments with a contact",
        "idx_appointment_contact",
        AppointmentFilter(contact_id=CONTACT),
    ),
    _appointments(
        "appointments about a property",
        "idx_appointment_property",
        AppointmentFilter(property_id=made_id("property", 7)),
    ),
    Hot(
        "another appointment of a user", {"idx_appointment_assignee"}, lambda s: s.execute(OVERLAP)
    ),
    Hot(
        "appointments of a calendar",
        {"idx_appointment_start"},
        lambda s: s.execute(feed_statement(assignee_id=None, now=NOON)),
        # A calendar has up to 2,000 appointments. For so many rows, reading the whole tables is
        # faster.
        whole=frozenset({"contact", "property"}),
    ),
    Hot(
        "calendar feeds",
        {"idx_calendar_feed_created"},
        use_case(
            lambda uow: list_feeds(uow, cursor=Cursors("calendar_feeds").write(*PLACE), limit=50)
        ),
    ),
    Hot(
        "calendar of a token",
        {"uq_calendar_feed_token_hash"},
        lambda s: s.execute(FIND_FEED, {"token_hash": b"7" * 32}),
    ),
]
BILLS = [
    Hot(
        "quotes",
        {"idx_quote_created"},
        _bills(QUOTES, BillFilter(), after=PLACE),
    ),
    Hot(
        "quotes for a contact",
        {"idx_quote_contact"},
        _bills(QUOTES, BillFilter(contact_id=CONTACT), after=PLACE),
    ),
    Hot(
        "quote with a number",
        {"uq_quote_number"},
        _bills(QUOTES, BillFilter(number="Q-7"), after=None),
    ),
    Hot(
        "approved quotes without an appointment",
        {"idx_quote_approved"},
        lambda s: s.execute(
            WAITING_QUOTES,
            {"before": NOON - 2 * DAY, "since": NOON - 365 * DAY, "most": 50},
        ),
    ),
    Hot(
        "sums of outstanding money",
        {"idx_quote_approved", "idx_invoice_open"},
        lambda s: s.execute(SUMS, YEAR),
    ),
    Hot(
        "first quotes without an appointment",
        {"idx_quote_approved"},
        lambda s: s.execute(FIRST_QUOTES, {**YEAR, "most": 5}),
    ),
    Hot(
        "oldest open invoices",
        {"idx_invoice_open"},
        lambda s: s.execute(FIRST_INVOICES, {"most": 5}),
    ),
    Hot(
        "invoices",
        {"idx_invoice_created"},
        _bills(INVOICES, BillFilter(), after=PLACE),
    ),
    Hot(
        "invoices for a contact",
        {"idx_invoice_contact"},
        _bills(INVOICES, BillFilter(contact_id=CONTACT), after=PLACE),
    ),
    Hot(
        "open invoices",
        {"idx_invoice_open"},
        _bills(INVOICES, BillFilter(status=InvoiceStatus.OPEN), after=PLACE),
    ),
    Hot(
        "invoice with a number",
        {"uq_invoice_number"},
        _bills(INVOICES, BillFilter(number="I-7"), after=None),
    ),
]
REMINDERS = [
    Hot(
        "reminder rules",
        {"idx_reminder_rule_created"},
        use_case(
            lambda uow: list_rules(uow, cursor=Cursors("reminder_rules").write(*PLACE), limit=50)
        ),
    ),
    Hot(
        "due reminders",
        {"idx_appointment_start", "uq_appointment_reminder_appointment_id_rule_id_starts_at"},
        lambda s: s.execute(DUE_REMINDERS, {"now": NOON, "limit": 50}),
    ),
    Hot(
        "reminders of a changed appointment",
        {"uq_appointment_reminder_appointment_id_rule_id_starts_at"},
        lambda s: s.execute(
            WITHDRAW_REMINDERS, {"appointment_id": made_id("appointment", 7), "now": NOON}
        ),
    ),
    Hot(
        "reminders that are too late",
        {"idx_appointment_reminder_queued"},
        lambda s: s.execute(WITHDRAW_LATE, {"now": NOON, "since": NOON - DAY}),
    ),
]
CALENDARS = [
    Hot(
        "calendar accounts",
        {"idx_calendar_account_created"},
        use_case(
            lambda uow: list_accounts(
                uow, cursor=Cursors("calendar_accounts").write(*PLACE), limit=50
            )
        ),
    ),
    Hot(
        "account of a calendar",
        {"uq_calendar_account_url"},
        lambda s: s.execute(
            select(CalendarAccount.id).where(CalendarAccount.url == "https://dav.example.com/7")
        ),
    ),
    Hot(
        "event of a calendar",
        {"uq_calendar_event_uid"},
        lambda s: s.execute(known_event_statement(account_id=made_id("account", 7), uid="uid6")),
    ),
    Hot(
        "event at a path",
        {"idx_calendar_event_href"},
        lambda s: s.execute(
            select(CalendarEvent).where(
                CalendarEvent.account_id == made_id("account", 7), CalendarEvent.href == "/6.ics"
            )
        ),
    ),
    Hot(
        "events of an appointment",
        {"idx_calendar_event_appointment"},
        lambda s: s.execute(
            delete(CalendarEvent).where(CalendarEvent.appointment_id == made_id("appointment", 7))
        ),
    ),
    Hot(
        "busy times of an event",
        {"idx_calendar_busy_time_event"},
        lambda s: s.execute(
            delete(CalendarBusyTime).where(
                CalendarBusyTime.event_id == made_id("calendar event", 7)
            )
        ),
    ),
    Hot(
        "busy times of a day",
        {"idx_calendar_busy_time_start"},
        lambda s: s.execute(BUSY_TIMES, {"begin": NOON, "end": NOON + DAY, "assignee_id": None}),
    ),
]

"""Queries on appointments and calendar feeds."""

from datetime import timedelta

from tests.migrations.filling import NOON, made_id
from tests.migrations.hot import CONTACT, PLACE, Hot

from crm_api.domain.sales.appointments.booking import overlap_statement
from crm_api.domain.sales.appointments.listing import AppointmentFilter, appointments_statement
from crm_api.domain.sales.calendars.feeds import FIND_FEED, feed_statement, feeds_statement

DAY = timedelta(days=1)


def _appointments(name: str, index: str, wanted: AppointmentFilter) -> Hot:
    statement = appointments_statement(wanted, after=PLACE, limit=51)
    return Hot(name, {index}, lambda s: s.execute(statement))


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
    ),
    Hot(
        "calendar feeds",
        {"idx_calendar_feed_created"},
        lambda s: s.execute(feeds_statement(after=PLACE, limit=51)),
    ),
    Hot(
        "calendar of a token",
        {"uq_calendar_feed_token_hash"},
        lambda s: s.execute(FIND_FEED, {"token_hash": b"7" * 32}),
    ),
]

"""Decide about due reminders, and put their messages into the send queue.

One transaction locks the appointment, and writes the decision and the message. So no reminder is
queued twice, and no reminder of a cancelled appointment is queued. Consent and legal hours are
checked again when the message is sent.
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.campaigns.errors import MissingValueError, TextFailedError
from crm_api.domain.campaigns.templates.template_text import compile_body, render_message
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.identity.users.models import User
from crm_api.domain.kit.contact_columns import ContactValues
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.models.lines import Line, LineStatus
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends.legal_hours import find_unasked_allowed_at, read_legal_hours
from crm_api.domain.messaging.sends.number_rules import NumberRule
from crm_api.domain.messaging.sends.queue import find_stopping_rule, queue_message
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.errors import ContactNotFoundError
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.sales.appointments.booking import lock_appointment
from crm_api.domain.sales.appointments.models import Appointment, AppointmentStatus
from crm_api.domain.sales.calendars.rendering import read_entry
from crm_api.domain.sales.reminders.models import (
    AppointmentReminder,
    ReminderReason,
    ReminderRule,
    ReminderStatus,
)
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.ids import new_id

AT_ONCE = 50
TRIED_AGAIN = timedelta(minutes=5)
"""The pause before a reminder is tried again, if a user must decide first, or if the line is
blocked."""


@dataclass(frozen=True, slots=True)
class DueReminder:
    """A reminder that is due now.

    Attributes:
        appointment_id: The id of the appointment.
        rule_id: The id of the reminder rule, which says how long before the appointment to remind.
        starts_at: The start of the appointment.
    """

    appointment_id: UUID
    rule_id: UUID
    starts_at: datetime


# An appointment gets no reminder if the reminder was already due when the appointment was booked,
# because the person has just agreed to the time. It also gets no reminder from a rule that was
# created after the reminder was due.
DUE_REMINDERS = text("""
    SELECT a.id AS appointment_id, r.id AS rule_id, a.starts_at
    FROM reminder_rule r
    JOIN appointment a ON a.starts_at > :now
        AND a.starts_at <= CAST(:now AS timestamptz) + make_interval(hours => r.hours_before)
    LEFT JOIN appointment_reminder m
        ON m.appointment_id = a.id AND m.rule_id = r.id AND m.starts_at = a.starts_at
    WHERE r.is_active AND a.status = 'booked' AND a.contact_id IS NOT NULL
      AND a.kind = ANY (r.kinds)
      AND greatest(a.created_at, r.created_at)
          <= a.starts_at - make_interval(hours => r.hours_before)
      AND (m.id IS NULL OR (m.status = 'waiting' AND m.try_at <= :now))
    ORDER BY a.starts_at, a.id, r.id LIMIT :limit
""")


async def find_due_reminders(uow: UnitOfWork, *, now: datetime) -> list[DueReminder]:
    """Return up to ``AT_ONCE`` reminders that are due now, the earliest appointment first."""
    values = {"now": now, "limit": AT_ONCE}
    return typed_rows(DueReminder, await uow.session.execute(DUE_REMINDERS, values))


class _StoppedError(Exception):
    """A reminder may not be sent now.

    Attributes:
        reason: Why the reminder may not be sent.
        until: When the service tries again to send the reminder; None if it never tries again.
    """

    def __init__(self, reason: ReminderReason, until: datetime | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.until = until


async def decide_reminder(
    uow: UnitOfWork, due: DueReminder, *, rules: RuleBook, business: Business, now: datetime
) -> ReminderStatus | None:
    """Queue, postpone or skip one reminder. Return the decision, which is the new status.

    Return None, without a decision, if the reminder is no longer due, for example because the
    appointment was moved or cancelled meanwhile.
    """
    try:
        message = await _queue_reminder(uow, due, rules=rules, business=business, now=now)
    except _StoppedError as stop:
        if stop.until is None or stop.until >= due.starts_at:
            return await _note(uow, due, ReminderStatus.SKIPPED, now=now, reason=stop.reason)
        return await _note(
            uow, due, ReminderStatus.WAITING, now=now, reason=stop.reason, try_at=stop.until
        )
    if message is None:
        return None
    return await _note(uow, due, ReminderStatus.QUEUED, now=now, activity_id=message.id)


async def _queue_reminder(
    uow: UnitOfWork, due: DueReminder, *, rules: RuleBook, business: Business, now: datetime
) -> Activity | None:
    """Queue the message of a reminder and return it; None if the reminder is no longer due.

    Raises:
        _StoppedError: The reminder may not be sent now.
    """
    contact_id = await uow.session.scalar(
        select(Appointment.contact_id).where(Appointment.id == due.appointment_id)
    )
    if contact_id is None:
        return None
    # The locks are taken in this order, so that two transactions cannot deadlock: the row of the
    # contact, the lock for decisions about the phone number, the row of the appointment.
    try:
        contact = await contacts.lock_contact(uow, contact_id=contact_id)
    except ContactNotFoundError as error:
        raise _StoppedError(ReminderReason.CONTACT_DELETED) from error
    await consent.lock_decisions(uow, phones=[contact.phone])
    appointment = await lock_appointment(uow, appointment_id=due.appointment_id)
    is_same = appointment.starts_at == due.starts_at and appointment.contact_id == contact.id
    is_booked = appointment.status == AppointmentStatus.BOOKED
    rule = await uow.session.get(ReminderRule, due.rule_id)
    if rule is None or not (is_booked and is_same) or await _is_decided(uow, due):
        return None
    line = await uow.session.get_one(Line, rule.line_id)
    await _check_rules(uow, contact.phone, line, rules=rules, now=now)
    context = await _context(uow, contact, appointment, line=line, business=business)
    try:
        body = render_message(compile_body(rule.body), context, footer=None)
    except MissingValueError as error:
        raise _StoppedError(ReminderReason.MISSING_VALUE) from error
    except TextFailedError as error:
        raise _StoppedError(ReminderReason.TEXT_FAILED) from error
    return await queue_message(
        uow,
        line_id=line.id,
        phone=contact.phone,
        body=body,
        kind=SendKind.REMINDER,
        contact_id=contact.id,
        now=now,
    )


async def _check_rules(
    uow: UnitOfWork, phone: str, line: Line, *, rules: RuleBook, now: datetime
) -> None:
    """Check the phone line, consent, legal hours and legal limits.

    An answer to a person may be sent at any hour. A reminder never counts as an answer, so legal
    hours and limits always apply to it.

    Raises:
        _StoppedError: The reminder may not be sent now.
    """
    if line.status == LineStatus.BLOCKED:
        raise _StoppedError(ReminderReason.LINE_BLOCKED, now + TRIED_AGAIN)
    rule = await find_stopping_rule(uow, kind=SendKind.REMINDER, phone=phone, now=now)
    if rule is not None:
        is_open = rule is NumberRule.OPT_OUT_HOLD
        raise _StoppedError(ReminderReason(rule.value), now + TRIED_AGAIN if is_open else None)
    hours = await read_legal_hours(
        uow, line_id=line.id, phone=phone, rules=rules, now=now, is_unasked=True
    )
    if not hours.is_open:
        raise _StoppedError(ReminderReason.OUTSIDE_HOURS, hours.opens_at)
    allowed_at = await find_unasked_allowed_at(
        uow, line_id=line.id, phone=phone, rules=rules, now=now
    )
    if allowed_at is not None:
        raise _StoppedError(ReminderReason.TOO_MANY_MESSAGES, allowed_at)


async def _context(
    uow: UnitOfWork,
    contact: Contact,
    appointment: Appointment,
    *,
    line: Line,
    business: Business,
) -> dict[str, Any]:
    """Return the values of the variables of a reminder message."""
    entry = await read_entry(uow, appointment_id=appointment.id)
    assignee = None
    if appointment.assignee_id is not None:
        assignee = await uow.session.scalar(
            select(User.name).where(User.id == appointment.assignee_id)
        )
    local = appointment.starts_at.astimezone(ZoneInfo(appointment.timezone))
    return {
        **{one.name: getattr(contact, one.name) for one in fields(ContactValues)},
        "line": {"name": line.name, "number": line.number},
        "business": {
            "name": business.name or line.name,
            "contact": business.contact or line.number,
        },
        "appointment": {
            "date": f"{local:%A, %B} {local.day}",
            "time": f"{local.hour % 12 or 12}:{local:%M %p}",
            "kind": appointment.kind,
            "location": entry.location or entry.address,
            "assignee": assignee,
        },
    }


async def _is_decided(uow: UnitOfWork, due: DueReminder) -> bool:
    status = await uow.session.scalar(
        select(AppointmentReminder.status).where(
            AppointmentReminder.appointment_id == due.appointment_id,
            AppointmentReminder.rule_id == due.rule_id,
            AppointmentReminder.starts_at == due.starts_at,
        )
    )
    return status not in {None, ReminderStatus.WAITING}


async def _note(
    uow: UnitOfWork,
    due: DueReminder,
    status: ReminderStatus,
    *,
    now: datetime,
    reason: ReminderReason | None = None,
    try_at: datetime | None = None,
    activity_id: UUID | None = None,
) -> ReminderStatus:
    decided = {
        "status": status,
        "reason": reason,
        "try_at": try_at or now,
        "activity_id": activity_id,
        "updated_at": now,
    }
    statement = insert(AppointmentReminder).values(
        id=new_id(),
        appointment_id=due.appointment_id,
        rule_id=due.rule_id,
        starts_at=due.starts_at,
        created_at=now,
        **decided,
    )
    await uow.session.execute(
        statement.on_conflict_do_update(
            index_elements=["appointment_id", "rule_id", "starts_at"], set_=decided
        )
    )
    return status


# This withdraws queued reminders of appointments that have already begun. Such a reminder would
# confuse the person.
WITHDRAW_LATE = text("""
    UPDATE activity t SET status = 'failed', error_code = 'appointment_changed', updated_at = :now
    FROM appointment_reminder m
    WHERE m.status = 'queued' AND m.starts_at <= :now AND m.starts_at > :since
      AND t.id = m.activity_id AND t.status = 'queued'
""")


async def withdraw_late_reminders(uow: UnitOfWork, *, now: datetime) -> None:
    """Withdraw the reminder messages that are still queued after their appointment began."""
    await uow.session.execute(WITHDRAW_LATE, {"now": now, "since": now - timedelta(days=2)})

"""Book and change appointments. By default, two appointments of an assignee must not overlap."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, text, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.identity.users.models import User, UserStatus
from crm_api.domain.kit.regions import EASTERN
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.models.properties import Property
from crm_api.domain.people.properties.errors import NO_SUCH_PROPERTY, PropertyNotFoundError
from crm_api.domain.people.tasks.errors import UnknownAssigneeError
from crm_api.domain.sales.appointments.errors import (
    AppointmentConflictError,
    AppointmentNotFoundError,
    AppointmentTimesError,
)
from crm_api.domain.sales.appointments.models import BUSY, Appointment, AppointmentStatus
from crm_api.domain.sales.appointments.schemas import AppointmentCreate, AppointmentUpdate
from crm_api.domain.sales.outcomes.models import OutcomeKind
from crm_api.domain.sales.outcomes.state_outcomes import (
    Recorder,
    Subject,
    correct_outcomes,
    lock_people,
    record_state,
)
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

LONGEST = timedelta(days=31)
"""The longest duration of an appointment. An appointment that overlaps a period therefore starts at
most 31 days before the period. So the search for overlaps reads only a small part of the index of
start times.
"""
OUTCOMES = {
    AppointmentStatus.BOOKED: OutcomeKind.APPOINTMENT_BOOKED,
    AppointmentStatus.HELD: OutcomeKind.APPOINTMENT_HELD,
}
"""The kind of outcome that is recorded for a status. No outcome is recorded for other statuses."""
_PLACED = frozenset({"starts_at", "ends_at", "assignee_id"})
"""If one of these fields changes, the appointment may overlap another one of the assignee."""
_OCCUPYING = _PLACED | {"status"}
"""The fields that decide whether the appointment overlaps another one of the assignee."""
_REMINDED_OF = frozenset({"starts_at", "status", "contact_id", "timezone"})
"""If one of these fields changes, a queued reminder of the appointment is wrong."""


@dataclass(frozen=True, kw_only=True)
class AppointmentChange:
    """An appointment after a change, and the names of the columns whose values changed."""

    appointment: Appointment
    changed: frozenset[str]


async def book_appointment(
    uow: UnitOfWork, body: AppointmentCreate, *, recorder: Recorder, now: datetime
) -> Appointment:
    """Create an appointment, and record an outcome if the status is ``booked`` or ``held``.

    Raises:
        AppointmentConflictError: The assignee has another appointment at this time.
        AppointmentTimesError: The times are in the wrong order, or more than 31 days apart.
        ContactNotFoundError: The contact does not exist or was deleted.
        PropertyNotFoundError: The property does not exist.
        UnknownAssigneeError: The assignee is not an active user.
    """
    contact = await contacts.lock_contact(uow, contact_id=body.contact_id)
    values = {
        **body.model_dump(exclude={"allow_conflict"}),
        "id": new_id(),
        "contact_id": contact.id,
        "timezone": body.timezone or contact.timezone or EASTERN,
        "author": recorder.name,
        "created_at": now,
        "updated_at": now,
    }
    made = await insert_appointment(uow, values, allow_conflict=body.allow_conflict)
    change = AppointmentChange(appointment=made, changed=frozenset({"status"}))
    return await _record(uow, change, recorder=recorder, now=now)


async def insert_appointment(
    uow: UnitOfWork,
    values: Mapping[str, Any],
    *,
    allow_conflict: bool,
    may_be_disabled: bool = False,
) -> Appointment:
    """Store a new appointment. If it has a contact, the caller must have locked the contact.

    Args:
        may_be_disabled: Whether the assignee may be a disabled user.

    Raises:
        AppointmentConflictError: The assignee has another appointment at this time.
        AppointmentTimesError: The times are in the wrong order, or more than 31 days apart.
        PropertyNotFoundError: The property does not exist.
        UnknownAssigneeError: The assignee is not an active user, and ``may_be_disabled`` is False.
    """
    _check_times(values)
    await _check_property(uow, values["property_id"])
    await _lock_assignee(uow, values["assignee_id"], may_be_disabled=may_be_disabled)
    if not allow_conflict:
        await _refuse_overlap(uow, values)
    statement = insert(Appointment).values(values).returning(Appointment)
    return (await uow.session.scalars(statement)).one()


async def change_appointment(
    uow: UnitOfWork,
    changes: AppointmentUpdate,
    *,
    appointment_id: UUID,
    recorder: Recorder,
    now: datetime,
) -> Appointment:
    """Change an appointment, and record an outcome if the new status is ``booked`` or ``held``.

    If the contact or the property changes, also correct the recorded outcomes of the appointment.

    Raises:
        AppointmentConflictError: The assignee has another appointment at this time.
        AppointmentNotFoundError: The appointment does not exist.
        AppointmentTimesError: The times are in the wrong order, or more than 31 days apart.
        ContactNotFoundError: The contact does not exist or was deleted.
        PropertyNotFoundError: The property does not exist.
        UnknownAssigneeError: The new assignee is not an active user.
    """
    values = changes.model_dump(exclude_unset=True, exclude={"allow_conflict"})
    seen = await uow.session.scalar(
        select(Appointment.contact_id).where(Appointment.id == appointment_id)
    )
    await lock_people(uow, [seen, values.get("contact_id")])
    if "contact_id" in values:
        contact = await contacts.lock_contact(uow, contact_id=values["contact_id"])
        values["contact_id"] = contact.id
    change = await write_changes(
        uow,
        values,
        appointment_id=appointment_id,
        allow_conflict=changes.allow_conflict,
        now=now,
    )
    return await _record(uow, change, recorder=recorder, now=now)


async def _record(
    uow: UnitOfWork, change: AppointmentChange, *, recorder: Recorder, now: datetime
) -> Appointment:
    """Record an outcome if the appointment got a new status, such as ``booked``.

    If the contact or the property changed, first correct the outcomes that are already recorded.
    Nothing is recorded for an appointment without a contact.
    """
    one = change.appointment
    if one.contact_id is None:
        return one
    subject = Subject(
        name="appointment",
        id=one.id,
        contact_id=one.contact_id,
        property_id=one.property_id,
        amount_cents=None,
        known=dict(one.outcomes),
    )
    known = dict(one.outcomes)
    if known and change.changed & {"contact_id", "property_id"}:
        known = await correct_outcomes(uow, subject, occurred={}, recorder=recorder, now=now)
        subject = replace(subject, known=known)
    outcome = OUTCOMES.get(AppointmentStatus(one.status))
    if "status" in change.changed and outcome is not None:
        is_held = one.status == AppointmentStatus.HELD
        known = await record_state(
            uow,
            subject,
            status=one.status,
            kind=outcome,
            occurred_at=min(one.starts_at, now) if is_held else now,
            recorder=recorder,
            now=now,
        )
    if known != one.outcomes:
        one.outcomes = known
        await uow.session.flush()
    return one


async def write_changes(
    uow: UnitOfWork,
    values: Mapping[str, Any],
    *,
    appointment_id: UUID,
    allow_conflict: bool,
    now: datetime,
) -> AppointmentChange:
    """Change the given columns of an appointment.

    If ``contact_id`` changes, the caller must first lock the old and the new contact.

    Raises:
        AppointmentConflictError: The assignee has another appointment at this time.
        AppointmentNotFoundError: The appointment does not exist.
        AppointmentTimesError: The times are in the wrong order, or more than 31 days apart.
        PropertyNotFoundError: The property does not exist.
        UnknownAssigneeError: The new assignee is not an active user.
    """
    before = await lock_appointment(uow, appointment_id=appointment_id)
    changed = {key: value for key, value in values.items() if getattr(before, key) != value}
    if not changed:
        return AppointmentChange(appointment=before, changed=frozenset())
    after = {key: getattr(before, key) for key in _OCCUPYING} | changed | {"id": before.id}
    _check_times(after)
    await _check_property(uow, changed.get("property_id"))
    if changed.keys() & _OCCUPYING:
        await _lock_assignee(
            uow, after["assignee_id"], may_be_disabled="assignee_id" not in changed
        )
        # A change from `booked` to `held` makes no new overlap. The user has already accepted an
        # overlap of these two appointments.
        may_overlap = changed.keys() & _PLACED or before.status not in BUSY
        if may_overlap and not allow_conflict:
            await _refuse_overlap(uow, after)
    statement = (
        update(Appointment)
        .where(Appointment.id == before.id)
        .values({**changed, "sequence": Appointment.sequence + 1, "updated_at": now})
        .returning(Appointment)
        .execution_options(populate_existing=True)
    )
    updated = (await uow.session.scalars(statement)).one()
    if changed.keys() & _REMINDED_OF:
        of_appointment = {"appointment_id": updated.id, "now": now}
        await uow.session.execute(WITHDRAW_REMINDERS, of_appointment)
        await uow.session.execute(WITHDRAW_CLAIMED_REMINDERS, of_appointment)
    return AppointmentChange(appointment=updated, changed=frozenset(changed))


# A queued reminder is wrong if the start, the time zone, the contact or the status of the
# appointment changed. Its message must not be sent. The row of the reminder is deleted, so that the
# rule can make another reminder, for example if the appointment is booked again.
WITHDRAW_REMINDERS = text("""
    WITH withdrawn AS (
        UPDATE activity t
        SET status = 'failed', error_code = 'appointment_changed', updated_at = :now
        FROM appointment_reminder m
        WHERE m.appointment_id = :appointment_id AND m.status = 'queued' AND t.id = m.activity_id
          AND t.status = 'queued'
        RETURNING t.id
    )
    DELETE FROM appointment_reminder m USING withdrawn w WHERE m.activity_id = w.id
""")
# Does the same for messages that a worker has reserved (claimed). This statement runs second, so
# that a message is found even if a worker reserves it in the meantime.
WITHDRAW_CLAIMED_REMINDERS = text("""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'withdrawn',
            updated_at = :now
        FROM appointment_reminder m JOIN activity t ON t.id = m.activity_id
        WHERE m.appointment_id = :appointment_id AND m.status = 'queued'
          AND a.phone = t.phone AND a.is_open AND a.status = 'claimed' AND a.activity_id = t.id
        RETURNING a.activity_id
    ), withdrawn AS (
        UPDATE activity t
        SET status = 'failed', error_code = 'appointment_changed', updated_at = :now
        FROM freed f WHERE t.id = f.activity_id
        RETURNING t.id
    )
    DELETE FROM appointment_reminder m USING withdrawn w WHERE m.activity_id = w.id
""")


async def lock_appointment(uow: UnitOfWork, *, appointment_id: UUID) -> Appointment:
    """Lock an appointment until the transaction ends, and return it.

    Raises:
        AppointmentNotFoundError: The appointment does not exist.
    """
    statement = (
        select(Appointment)
        .where(Appointment.id == appointment_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    found = await uow.session.scalar(statement)
    if found is None:
        raise AppointmentNotFoundError
    return found


def overlaps(starts_at: datetime, ends_at: datetime) -> list[ColumnElement[bool]]:
    """Return SQL conditions for the appointments that overlap a period.

    The conditions assume that no appointment is longer than ``LONGEST``.
    """
    return [
        Appointment.starts_at < ends_at,
        Appointment.starts_at > starts_at - LONGEST,
        Appointment.ends_at > starts_at,
    ]


def overlap_statement(
    *, assignee_id: UUID, starts_at: datetime, ends_at: datetime, except_id: UUID
) -> Select[UUID]:
    """Return the statement that selects the id of a user's earliest appointment in a period.

    An appointment that lies only partly in the period is found too. Only the statuses ``booked``
    and ``held`` (took place) are found.

    Args:
        except_id: The id of an appointment that is left out, such as the one to change.
    """
    return (
        select(Appointment.id)
        .where(
            Appointment.assignee_id == assignee_id,
            Appointment.status.in_(BUSY),
            Appointment.id != except_id,
            *overlaps(starts_at, ends_at),
        )
        .order_by(Appointment.starts_at, Appointment.id)
        .limit(1)
    )


async def _refuse_overlap(uow: UnitOfWork, values: Mapping[str, Any]) -> None:
    if values["assignee_id"] is None or values["status"] not in BUSY:
        return
    statement = overlap_statement(
        assignee_id=values["assignee_id"],
        starts_at=values["starts_at"],
        ends_at=values["ends_at"],
        except_id=values["id"],
    )
    other = await uow.session.scalar(statement)
    if other is not None:
        raise AppointmentConflictError(other)


async def _lock_assignee(
    uow: UnitOfWork, user_id: UUID | None, *, may_be_disabled: bool = False
) -> None:
    """Lock the row of an assignee, so that simultaneous bookings run one after the other.

    After this call, the caller must search for overlaps in a new statement. This statement also
    sees bookings that were committed while this function waited for the lock (``ARCHITECTURE.md``,
    "Sending, rule 1").

    Raises:
        UnknownAssigneeError: The assignee is not an active user, and ``may_be_disabled`` is False.
    """
    if user_id is None:
        return
    statement = select(User.status).where(User.id == user_id).with_for_update(key_share=True)
    status = await uow.session.scalar(statement)
    if status != UserStatus.ACTIVE and not may_be_disabled:
        raise UnknownAssigneeError("Null assigns the appointment to nobody.")


async def _check_property(uow: UnitOfWork, property_id: UUID | None) -> None:
    if property_id is None:
        return
    statement = (
        select(Property.id)
        .where(Property.id == property_id)
        .with_for_update(read=True, key_share=True)
    )
    if await uow.session.scalar(statement) is None:
        raise PropertyNotFoundError(NO_SUCH_PROPERTY)


def _check_times(values: Mapping[str, Any]) -> None:
    length = values["ends_at"] - values["starts_at"]
    if not timedelta(0) < length <= LONGEST:
        raise AppointmentTimesError

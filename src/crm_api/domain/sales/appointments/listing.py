"""Read one appointment; list appointments in the order of their starts, and export them as CSV."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, select, tuple_

from crm_api.domain.identity.users.models import User
from crm_api.domain.kit.csv_export import cell, copy_rows, end_of_page, instant, row_id, write_csv
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.sales.appointments.booking import LONGEST
from crm_api.domain.sales.appointments.errors import AppointmentNotFoundError
from crm_api.domain.sales.appointments.models import Appointment, AppointmentStatus
from crm_api.domain.sales.appointments.schemas import FoundAppointment
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

NOBODY = "none"
"""Value of ``AppointmentFilter.assignee`` for appointments without an assignee."""
NAME = func.nullif(func.concat_ws(" ", Contact.first_name, Contact.last_name), "")


@dataclass(frozen=True, kw_only=True)
class AppointmentFilter:
    """Which appointments a list contains. A field that is None does not filter.

    Attributes:
        starting: Only appointments that end after this instant.
        ending: Only appointments that begin before this instant.
        assignee: Only appointments of the user with this id; ``NOBODY``: only those without an
            assignee.
    """

    starting: datetime | None = None
    ending: datetime | None = None
    assignee: UUID | str | None = None
    contact_id: UUID | None = None
    property_id: UUID | None = None
    statuses: Sequence[AppointmentStatus] = ()


async def read_appointment(uow: UnitOfWork, *, appointment_id: UUID) -> FoundAppointment:
    """Return the appointment with this id.

    Raises:
        AppointmentNotFoundError: The appointment does not exist.
    """
    statement = _appointments().where(Appointment.id == appointment_id)
    row = (
        await uow.session.execute(statement.execution_options(populate_existing=True))
    ).one_or_none()
    if row is None:
        raise AppointmentNotFoundError
    return FoundAppointment(
        appointment=row.Appointment, contact_name=row.contact_name, assignee_name=row.name
    )


async def list_appointments(
    uow: UnitOfWork, wanted: AppointmentFilter, *, cursor: str | None, limit: int
) -> Page[FoundAppointment]:
    """Return a page of appointments, the earliest start first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("appointments", wanted=wanted)
    statement = appointments_statement(wanted, after=cursors.read(cursor), limit=limit + 1)
    found = [
        FoundAppointment(
            appointment=row.Appointment, contact_name=row.contact_name, assignee_name=row.name
        )
        for row in (await uow.session.execute(statement)).all()
    ]
    return cursors.page(
        found, limit=limit, position=lambda one: (one.appointment.starts_at, one.appointment.id)
    )


def appointments_statement(
    wanted: AppointmentFilter, *, after: tuple[datetime, UUID] | None, limit: int | None
) -> Select[Appointment, str, str]:
    """Return the statement that reads a page of appointments.

    If ``limit`` is None, the statement has no limit.
    """
    statement = _appointments().where(*_conditions(wanted))
    if after is not None:
        statement = statement.where(tuple_(Appointment.starts_at, Appointment.id) > after)
    return statement.order_by(Appointment.starts_at, Appointment.id).limit(limit)


def _appointments() -> Select[Appointment, str, str]:
    return (
        select(Appointment, NAME.label("contact_name"), User.name)
        .outerjoin(Contact, Contact.id == Appointment.contact_id)
        .outerjoin(User, User.id == Appointment.assignee_id)
    )


def _conditions(wanted: AppointmentFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.starting is not None:
        conditions += [
            Appointment.starts_at > wanted.starting - LONGEST,
            Appointment.ends_at > wanted.starting,
        ]
    if wanted.ending is not None:
        conditions.append(Appointment.starts_at < wanted.ending)
    if isinstance(wanted.assignee, UUID):
        conditions.append(Appointment.assignee_id == wanted.assignee)
    if wanted.assignee == NOBODY:
        conditions.append(Appointment.assignee_id.is_(None))
    if wanted.contact_id is not None:
        conditions.append(Appointment.contact_id == wanted.contact_id)
    if wanted.property_id is not None:
        conditions.append(Appointment.property_id == wanted.property_id)
    if wanted.statuses:
        conditions.append(Appointment.status.in_(wanted.statuses))
    return conditions


Position = tuple[datetime, UUID]
_COLUMNS: dict[str, SQLColumnExpression[Any]] = {
    "id": row_id(Appointment.id),
    "contact_id": row_id(Appointment.contact_id),
    "contact_name": cell(NAME),
    "property_id": row_id(Appointment.property_id),
    "kind": Appointment.kind,
    "starts_at": instant(Appointment.starts_at),
    "ends_at": instant(Appointment.ends_at),
    "timezone": Appointment.timezone,
    "assignee_id": row_id(Appointment.assignee_id),
    "assignee_name": cell(User.name),
    "location": cell(Appointment.location),
    "note": cell(Appointment.note),
    "status": Appointment.status,
    "author": cell(Appointment.author),
    "created_at": instant(Appointment.created_at),
    "updated_at": instant(Appointment.updated_at),
}
HEADER = tuple(_COLUMNS)


def export_appointments(
    new_uow: UnitOfWorkFactory, wanted: AppointmentFilter
) -> AsyncIterator[bytes]:
    """Yield the parts of a CSV file with the appointments that ``wanted`` selects.

    The rows are ordered by the start of the appointment, the earliest first.
    """

    async def next_page(uow: UnitOfWork, after: Position | None) -> tuple[bytes, Position | None]:
        rows = appointments_statement(wanted, after=after, limit=None)
        row_key = (Appointment.starts_at, Appointment.id)
        last = await end_of_page(uow.session, rows.with_only_columns(*row_key))
        shown = rows.with_only_columns(*_COLUMNS.values())
        if last is None:
            return await copy_rows(uow.session, shown), None
        end = (last[0], last[1])
        return await copy_rows(uow.session, shown.where(tuple_(*row_key) <= end)), end

    return write_csv(new_uow, header=HEADER, next_page=next_page)

"""Export appointments as CSV."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import SQLColumnExpression, tuple_

from crm_api.domain.identity.users.models import User
from crm_api.domain.kit.csv_export import (
    cell,
    copy_rows,
    end_of_page,
    instant,
    row_id,
    write_csv,
)
from crm_api.domain.sales.appointments.listing import (
    NAME,
    AppointmentFilter,
    appointments_statement,
)
from crm_api.domain.sales.appointments.models import Appointment
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

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
    """Yield the parts of a CSV file with the appointments that match, the earliest start first."""

    async def next_page(uow: UnitOfWork, after: Position | None) -> tuple[bytes, Position | None]:
        rows = appointments_statement(wanted, after=after, limit=None)
        place = (Appointment.starts_at, Appointment.id)
        last = await end_of_page(uow.session, rows.with_only_columns(*place))
        shown = rows.with_only_columns(*_COLUMNS.values())
        if last is None:
            return await copy_rows(uow.session, shown), None
        end = (last[0], last[1])
        return await copy_rows(uow.session, shown.where(tuple_(*place) <= end)), end

    return write_csv(new_uow, header=HEADER, next_page=next_page)

"""The table of appointments."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class AppointmentKind(StrEnum):
    """What an appointment is for."""

    ASSESSMENT = "assessment"
    REPAIR = "repair"
    OTHER = "other"


class AppointmentStatus(StrEnum):
    """The state of an appointment.

    Attributes:
        BOOKED: The appointment will take place, or no user has stored yet whether it took place.
        HELD: The appointment took place.
        CANCELLED: The appointment does not take place.
        NO_SHOW: The appointment did not take place, because the person was not there.
    """

    BOOKED = "booked"
    HELD = "held"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"


BUSY = (AppointmentStatus.BOOKED, AppointmentStatus.HELD)
"""The states of an appointment in which the assignee is busy."""


class Appointment(Base):
    """An appointment, usually at the home of a contact.

    When its contact is deleted, the location and the note are removed, and a booked appointment is
    cancelled. When the contact is erased (all data about the person is removed), ``contact_id``
    and ``property_id`` are cleared too. The row of the appointment stays.
    """

    __tablename__ = "appointment"
    __table_args__ = (
        CheckConstraint(one_of("kind", AppointmentKind), name="kind"),
        CheckConstraint(one_of("status", AppointmentStatus), name="status"),
        CheckConstraint("ends_at > starts_at", name="times"),
        Index("idx_appointment_start", "starts_at", "id"),
        Index(
            "idx_appointment_assignee",
            "assignee_id",
            "starts_at",
            "id",
            postgresql_where=text("assignee_id IS NOT NULL"),
        ),
        Index("idx_appointment_contact", "contact_id", "starts_at", "id"),
        Index(
            "idx_appointment_property",
            "property_id",
            "starts_at",
            "id",
            postgresql_where=text("property_id IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey("contact.id", ondelete="SET NULL"))
    """None after the person was erased, and if the appointment comes from an event of a calendar.
    """
    property_id: Mapped[UUID | None] = mapped_column(ForeignKey("property.id", ondelete="SET NULL"))
    kind: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    timezone: Mapped[str]
    """The IANA time zone in which calendars show the appointment."""
    assignee_id: Mapped[UUID | None] = mapped_column(ForeignKey("app_user.id", ondelete="SET NULL"))
    location: Mapped[str | None]
    note: Mapped[str | None]
    status: Mapped[str]
    sequence: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The number of changes. Calendars use it to order versions (``SEQUENCE`` of RFC 5545)."""
    outcomes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """The ids of the outcomes that were recorded for the appointment, by status."""
    author: Mapped[str]
    """The API key or user that created the appointment, or the calendar that it came from."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

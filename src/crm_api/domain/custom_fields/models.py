"""Definitions of custom fields."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class FieldType(StrEnum):
    """What a field's values are."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    CHOICE = "choice"
    URL = "url"
    EMAIL = "email"


class CustomField(Base):
    """What the attribute of this name holds, in every contact.

    The values are in ``contact.attributes``. A definition that is archived checks nothing; its
    values stay, and its name is free for another.
    """

    __tablename__ = "custom_field"
    __table_args__ = (
        CheckConstraint(one_of("type", FieldType), name="type"),
        CheckConstraint("(type = 'choice') = (cardinality(choices) > 0)", name="choices"),
        Index(
            "uq_custom_field_name",
            "name",
            unique=True,
            postgresql_where=text("archived_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    """The key in ``attributes``."""
    label: Mapped[str]
    type: Mapped[str]
    choices: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"))
    required: Mapped[bool] = mapped_column(server_default=text("false"))
    applied_through: Mapped[UUID | None]
    """Up to this contact the values that were there before are in the type's own writing."""
    applied_at: Mapped[datetime | None]
    """When all were; null while the worker is at it."""
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

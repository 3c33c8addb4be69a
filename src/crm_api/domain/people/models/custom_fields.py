"""The table of custom field definitions."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class FieldType(StrEnum):
    """The type of the values of a custom field."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    CHOICE = "choice"
    URL = "url"
    EMAIL = "email"


class CustomField(Base):
    """The definition of a custom field: an attribute that contacts may have, and its type.

    The values are in ``contact.attributes``. If a definition is archived, its values stay, new
    values are not checked against it, and a new definition can have the same name.
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
    """The name of the attribute in ``contact.attributes``."""
    label: Mapped[str]
    type: Mapped[str]
    choices: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"))
    required: Mapped[bool] = mapped_column(server_default=text("false"))
    applied_through: Mapped[UUID | None]
    """The last contact that the conversion of older values to the type has processed.

    The contacts are processed in the order of their ids.
    """
    applied_at: Mapped[datetime | None]
    """When the older values of all contacts were converted to the type; None until then."""
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

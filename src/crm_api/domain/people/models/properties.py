"""The tables of properties (buildings), and of the contacts that are assigned to them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class PropertyRole(StrEnum):
    """The role of a contact at a property."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    OTHER = "other"


class Property(Base):
    """A building. All spellings of its address have the same ``address_key``."""

    __tablename__ = "property"
    __table_args__ = (
        UniqueConstraint("address_key"),
        Index("idx_property_created", "created_at", "id"),
        Index("idx_property_import", "import_id", postgresql_where=text("import_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    address_key: Mapped[str] = mapped_column(Text(collation="C"))
    """The normalised address. With the collation C, the index can find addresses by their
    beginning."""
    street: Mapped[str]
    city: Mapped[str | None]
    state: Mapped[str | None]
    postal_code: Mapped[str | None]
    country: Mapped[str | None]
    year_built: Mapped[int | None] = mapped_column(SmallInteger)
    property_type: Mapped[str | None]
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    source: Mapped[str] = mapped_column(server_default=text("'api'"))
    import_id: Mapped[UUID | None]
    """The import that created the property, so that an undo of the import can remove it."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class PropertyContact(Base):
    """The assignment of a contact to a property, with the contact's role."""

    __tablename__ = "property_contact"
    __table_args__ = (
        CheckConstraint(one_of("role", PropertyRole), name="role"),
        Index("idx_property_contact_contact", "contact_id", "added_at", "property_id"),
        Index(
            "idx_property_contact_import",
            "import_id",
            postgresql_where=text("import_id IS NOT NULL"),
        ),
    )

    property_id: Mapped[UUID] = mapped_column(
        ForeignKey("property.id", ondelete="CASCADE"), primary_key=True
    )
    contact_id: Mapped[UUID] = mapped_column(
        ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True
    )
    role: Mapped[str]
    import_id: Mapped[UUID | None]
    added_at: Mapped[datetime]

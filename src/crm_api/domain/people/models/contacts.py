"""The tables of contacts, and of their notes, custom fields and tags."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ContactNote(Base):
    """A note about a contact. It is deleted when the contact is deleted or erased."""

    __tablename__ = "contact_note"
    __table_args__ = (Index("idx_contact_note_contact", "contact_id", "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    author: Mapped[str]
    """The API key or user that created the note. Editing the note does not change its author."""
    body: Mapped[str]
    is_pinned: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def pinned(self) -> bool:
        """Whether the note is marked as important."""
        return self.is_pinned


SEARCH_TEXT = (
    "' ' || search_fold(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' ' "
    "|| phone || ' ' || coalesce(email, '') || ' ' || coalesce(company, ''))"
)
SORT_NAME = (
    "left(coalesce(nullif(btrim(search_fold(coalesce(last_name, '') || ' ' "
    "|| coalesce(first_name, ''))), ''), '~' || search_fold(coalesce(company || ' ', '')) "
    "|| phone), 200)"
)
_LIVE = text("deleted_at IS NULL")


class Contact(Base):
    """A person, known by one phone number in E.164.

    Each number has one row. If the contact is deleted, the personal fields of the row are cleared.
    If a contact with the same number is created later, it uses the same row. A merged duplicate is
    marked as deleted. A look-up of the duplicate finds the contact that it was merged into. A
    worker locks the row before it sends a message to the number.
    """

    __tablename__ = "contact"
    __table_args__ = (
        UniqueConstraint("phone"),
        Index("idx_contact_phone_hash", "phone", postgresql_using="hash"),
        Index(
            "idx_contact_created",
            text("created_at DESC"),
            text("id DESC"),
            postgresql_where=_LIVE,
        ),
        Index("idx_contact_name", "sort_name", "id", postgresql_where=_LIVE),
        Index("idx_contact_updated", "updated_at", "id", postgresql_where=_LIVE),
        Index("idx_contact_zone_key", "zone_key", postgresql_where=_LIVE),
        Index(
            "idx_contact_place",
            text("lower(state)"),
            text("search_fold(city)"),
            postgresql_where=_LIVE,
        ),
        Index(
            "idx_contact_search",
            "search_text",
            postgresql_using="gin",
            postgresql_ops={"search_text": "gin_trgm_ops"},
        ),
        Index("idx_contact_tags", "tags", postgresql_using="gin"),
        Index(
            "idx_contact_merged_into",
            "merged_into",
            postgresql_where=text("merged_into IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    phone: Mapped[str]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    email: Mapped[str | None]
    company: Mapped[str | None]
    street: Mapped[str | None]
    city: Mapped[str | None]
    state: Mapped[str | None]
    postal_code: Mapped[str | None]
    country: Mapped[str | None]
    timezone: Mapped[str | None]
    zone_key: Mapped[str]
    """The states and time zones in which the person may live, as one text; see
    ``domain.kit.zones``. They decide at which hours messages may be sent."""
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"))
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    source: Mapped[str] = mapped_column(server_default=text("'api'"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    merged_into: Mapped[UUID | None]
    """The contact that this duplicate was merged into; that contact is never a duplicate itself."""
    search_text: Mapped[str] = mapped_column(Computed(SEARCH_TEXT, persisted=True))
    """Name, phone number, e-mail and company in the form in which the search compares them.

    The text has no accents and no capitals (see ``search_fold`` in SQL), and a space before every
    word.
    """
    sort_name: Mapped[str] = mapped_column(Text(collation="C"), Computed(SORT_NAME, persisted=True))
    """Last name and first name, without accents and capitals. Contacts are sorted by this text.

    Contacts without a name come after the other contacts, sorted by company and phone number.
    """


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
    """The id of the last contact whose older value was converted to the type of the field.

    The contacts are processed in the order of their ids.
    """
    applied_at: Mapped[datetime | None]
    """When the older values of all contacts were converted to the type; None until then."""
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def is_applied(self) -> bool:
        """False while a background job still converts stored values to the type of the field."""
        return self.applied_at is not None


class TagChangeStatus(StrEnum):
    """The status of a tag change."""

    RUNNING = "running"
    COMPLETED = "completed"


class TagChange(Base):
    """A request to add and remove tags of many contacts, chunk by chunk.

    Contacts are processed in the order of their ids; ``position`` is the last processed id. So each
    contact is processed at most once, even if the new tags affect which contacts match ``filter``.
    """

    __tablename__ = "tag_change"
    __table_args__ = (
        CheckConstraint(one_of("status", TagChangeStatus), name="status"),
        Index(
            "idx_tag_change_running",
            "created_at",
            "id",
            postgresql_where=text("status = 'running'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    add: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    remove: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    contact_ids: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid()))
    filter: Mapped[dict[str, Any] | None]
    status: Mapped[str]
    position: Mapped[UUID | None]
    matched: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    changed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    refused: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The number of contacts that were not changed, because they would have too many tags."""
    requested_by: Mapped[str]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class TagCount(Base):
    """The number of contacts that had a tag when the tags were last counted."""

    __tablename__ = "tag_count"

    tag: Mapped[str] = mapped_column(primary_key=True)
    contacts: Mapped[int] = mapped_column(BigInteger)
    counted_at: Mapped[datetime]

"""The tables of lists, their contacts, and segments."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class Segment(Base):
    """A named filter for contacts. It is evaluated again each time it is used."""

    __tablename__ = "segment"
    __table_args__ = (
        UniqueConstraint("name"),
        Index("idx_segment_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    filter: Mapped[dict[str, Any]]
    """The rules as the client sent them; ``segments/parser.py`` defines their format."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ContactList(Base):
    """A named list of contacts."""

    __tablename__ = "contact_list"
    __table_args__ = (
        UniqueConstraint("name"),
        Index("idx_contact_list_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ContactListMember(Base):
    """One contact on one list."""

    __tablename__ = "contact_list_member"
    __table_args__ = (
        Index("idx_contact_list_member_added", "list_id", "added_at", "contact_id"),
        Index("idx_contact_list_member_contact", "contact_id"),
    )

    list_id: Mapped[UUID] = mapped_column(
        ForeignKey("contact_list.id", ondelete="CASCADE"), primary_key=True
    )
    contact_id: Mapped[UUID] = mapped_column(
        ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True
    )
    added_at: Mapped[datetime]


class ContactListTally(Base):
    """One change of the number of contacts on a list, or the sum of several changes.

    ``contacts`` is negative if contacts were removed. The sum of the rows of a list is the number
    of contacts on the list. Counting the contacts of a list would be slower: 40 to 60 ms for a
    million contacts. A trigger (``migrations/objects/count_list_members.sql``) adds rows. A job
    merges the rows.
    """

    __tablename__ = "contact_list_tally"
    __table_args__ = (Index("idx_contact_list_tally_list", "list_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    list_id: Mapped[UUID] = mapped_column(ForeignKey("contact_list.id", ondelete="CASCADE"))
    contacts: Mapped[int] = mapped_column(BigInteger)

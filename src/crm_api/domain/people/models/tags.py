"""The tables of tag changes, and of tag counts that are stored for large databases."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class TagChangeStatus(StrEnum):
    """The state of a tag change."""

    RUNNING = "running"
    COMPLETED = "completed"


class TagChange(Base):
    """Tags to add to and remove from matching contacts, applied in chunks.

    ``position`` is the last contact that was processed. Contacts are processed once, in the order
    of their ids, even if the change makes them match or not match.
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
    """Contacts that would have more than the allowed number of tags; they were not changed."""
    requested_by: Mapped[str]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class TagCount(Base):
    """The number of contacts that had a tag when tags were last counted."""

    __tablename__ = "tag_count"

    tag: Mapped[str] = mapped_column(primary_key=True)
    contacts: Mapped[int] = mapped_column(BigInteger)
    counted_at: Mapped[datetime]

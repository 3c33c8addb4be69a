"""The tables of tags: changes of many contacts, and counts that are kept for large stores."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class TagChangeStatus(StrEnum):
    """How far a change has come."""

    RUNNING = "running"
    COMPLETED = "completed"


class TagChange(Base):
    """Tags that are put on, and taken off, whoever fits; worked off chunk by chunk.

    ``position`` is the last contact that was looked at: each is looked at once, in the order of
    their ids, whatever the change does to whether they fit.
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
    """They would have more tags than a contact may."""
    requested_by: Mapped[str]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class TagCount(Base):
    """How many contacts had a tag when that was counted last."""

    __tablename__ = "tag_count"

    tag: Mapped[str] = mapped_column(primary_key=True)
    contacts: Mapped[int] = mapped_column(BigInteger)
    counted_at: Mapped[datetime]

"""The tables of tag changes, and of the last counts of tags."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class TagChangeStatus(StrEnum):
    """The status of a tag change."""

    RUNNING = "running"
    COMPLETED = "completed"


class TagChange(Base):
    """A request to add and remove tags of many contacts, chunk by chunk.

    The tags in the field ``add`` are added to each contact. The tags in the field ``remove`` are
    removed from each contact. The contacts are processed in the order of their ids. The field
    ``position`` is the id of the last processed contact. So each contact is processed at most once,
    even if the new tags affect which contacts match the field ``filter``.
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

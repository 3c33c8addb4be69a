"""The table of tasks."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class TaskStatus(StrEnum):
    """Whether a task is done. It is computed from ``done_at``."""

    OPEN = "open"
    DONE = "done"


class Task(Base):
    """Something that a user must do before a deadline, often for a contact or in a conversation.

    A task is deleted when its contact is deleted or erased.
    """

    __tablename__ = "task"
    __table_args__ = (
        Index("idx_task_due", "due_at", "id"),
        Index("idx_task_open", "due_at", "id", postgresql_where=text("done_at IS NULL")),
        Index(
            "idx_task_done",
            text("done_at DESC"),
            text("id DESC"),
            postgresql_where=text("done_at IS NOT NULL"),
        ),
        Index(
            "idx_task_assignee",
            "assignee_id",
            "due_at",
            "id",
            postgresql_where=text("assignee_id IS NOT NULL"),
        ),
        Index("idx_task_contact", "contact_id", "due_at", "id"),
        Index("idx_task_conversation", "conversation_id", "due_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    title: Mapped[str]
    due_at: Mapped[datetime]
    contact_id: Mapped[UUID | None] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    conversation_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("conversation.id", ondelete="CASCADE")
    )
    assignee_id: Mapped[UUID | None] = mapped_column(ForeignKey("app_user.id", ondelete="SET NULL"))
    author: Mapped[str]
    """The API key or user that created the task."""
    done_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def status(self) -> TaskStatus:
        """Whether the task is done."""
        return TaskStatus.OPEN if self.done_at is None else TaskStatus.DONE

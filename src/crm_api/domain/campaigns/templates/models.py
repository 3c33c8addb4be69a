"""Tables of message templates and their versions."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class TemplateStatus(StrEnum):
    """The state of the approval of a template version.

    A campaign whose bodies are all approved versions needs no other approval.

    Attributes:
        DRAFT: The author still works on the version.
        SUBMITTED: The version waits for the approval of another user.
        APPROVED: Another user approved the version.
        REJECTED: Another user rejected the version; `note` says why.
    """

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"


class MessageTemplate(Base):
    """A saved message body with a name.

    Campaigns copy the body, so a later change of the template does not change the campaigns.
    """

    __tablename__ = "message_template"
    __table_args__ = (
        UniqueConstraint("name"),
        Index("idx_message_template_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    category: Mapped[str | None]
    body: Mapped[str]
    """The message body of the newest version, in Liquid."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class TemplateVersion(Base):
    """A present or earlier body of a template, and the state of its approval.

    The body of a version never changes: a changed body is a new version. During an upgrade, an
    older release may change a template's body without storing a version. A body without a version
    counts as a draft until a user changes or submits the template.
    """

    __tablename__ = "template_version"
    __table_args__ = (CheckConstraint(one_of("status", TemplateStatus), name="status"),)

    template_id: Mapped[UUID] = mapped_column(
        ForeignKey("message_template.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """The number of the version; the first one is 1."""
    body: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'draft'"))
    author_id: Mapped[str | None]
    """The id of the API key or user who wrote the body; None if it is not known."""
    author_name: Mapped[str | None]
    submitted_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    """When the version was approved or rejected."""
    decided_by: Mapped[str | None]
    """The name of the API key, or the e-mail address of the user, that decided."""
    note: Mapped[str | None]
    """The note of the last submission or decision; None if there is none."""
    created_at: Mapped[datetime]

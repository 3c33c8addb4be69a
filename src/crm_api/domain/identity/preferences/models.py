"""Tables of the preferences and the saved views of users."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class Language(StrEnum):
    """A language of the screens."""

    ENGLISH = "en"
    SPANISH = "es"


class Theme(StrEnum):
    """The colours of the screens.

    Attributes:
        SYSTEM: The colours that the user's device uses.
        LIGHT: Dark text on a light background.
        DARK: Light text on a dark background.
    """

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


class ViewedList(StrEnum):
    """A kind of list, such as the contacts. A user can save views of it (named filters)."""

    CALLS = "calls"
    CAMPAIGNS = "campaigns"
    CONTACTS = "contacts"
    CONVERSATIONS = "conversations"
    MESSAGES = "messages"
    PROPERTIES = "properties"
    RECIPIENTS = "recipients"
    TASKS = "tasks"


class UserPreferences(Base):
    """The preferences of a user. Without a row, the defaults apply."""

    __tablename__ = "user_preferences"
    __table_args__ = (
        CheckConstraint(one_of("language", Language), name="language"),
        CheckConstraint(one_of("theme", Theme), name="theme"),
    )

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("app_user.id", ondelete="CASCADE"), primary_key=True
    )
    timezone: Mapped[str | None]
    language: Mapped[str]
    theme: Mapped[str]
    notices: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """The fields of ``NoticePreferences`` that the user has changed. Other fields have defaults."""
    updated_at: Mapped[datetime]


class SavedView(Base):
    """A stored filter of a list, with the name that the user gave to the filter."""

    __tablename__ = "saved_view"
    __table_args__ = (
        CheckConstraint(one_of("list", ViewedList), name="list"),
        UniqueConstraint("user_id", "list", "name"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    list: Mapped[str]
    name: Mapped[str]
    filter: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

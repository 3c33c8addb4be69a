"""Read which kinds of notices each user gets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.identity.preferences.notices import (
    NoticeChannel,
    NoticeKind,
    NoticePreferences,
    read_notice_preferences,
)
from crm_api.domain.identity.users.models import SCOPES_OF, UserRole
from crm_api.platform.database import UnitOfWork, typed_rows

SCOPE_OF_KIND = {
    NoticeKind.REPLY: Scope.MESSAGES_READ,
    NoticeKind.MENTION: Scope.MESSAGES_READ,
    NoticeKind.TASK: Scope.CONTACTS_READ,
}
"""For each kind of notice, the scope that a user needs to get such notices."""


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """An active user who wants notices.

    Attributes:
        timezone: The IANA time zone of the user's quiet times, in which no notices are sent.
        wanted: For each channel (mail or push), the kinds of notices to send. The user has chosen
            these kinds, and may read the data that such notices contain.
    """

    user_id: UUID
    email: str
    timezone: str
    preferences: NoticePreferences
    wanted: dict[NoticeChannel, frozenset[NoticeKind]]

    def is_quiet(self, at: datetime) -> bool:
        """Return whether an instant is in the user's quiet times, in which no notices are sent."""
        return self.preferences.is_quiet(at, self.timezone)


@dataclass(frozen=True, slots=True, kw_only=True)
class _UserRow:
    user_id: UUID
    email: str
    role: str
    timezone: str
    notices: dict[str, Any] | None
    has_device: bool


WATCHERS = text("""
    SELECT u.id AS user_id, u.email, u.role, p.notices,
           coalesce(p.timezone, s.office_hours ->> 'timezone', 'UTC') AS timezone,
           EXISTS (SELECT 1 FROM push_subscription d WHERE d.user_id = u.id) AS has_device
    FROM app_user u
    LEFT JOIN user_preferences p ON p.user_id = u.id
    LEFT JOIN company_settings s ON true
    WHERE u.status = 'active'
    ORDER BY u.id
""")


async def read_watchers(uow: UnitOfWork, *, has_mail: bool) -> list[Watcher]:
    """Return the active users who get notices by mail or push.

    A user's quiet times are in the time zone that the user has set. If the user has set none, they
    are in the time zone of the office hours. If that is not set either, they are in UTC.

    Args:
        has_mail: Whether the service can send mail.
    """
    watchers = []
    for row in typed_rows(_UserRow, await uow.session.execute(WATCHERS)):
        preferences = read_notice_preferences(row.notices)
        channels = {
            channel: _allowed(preferences.kinds(channel), UserRole(row.role))
            for channel, is_usable in (
                (NoticeChannel.MAIL, has_mail),
                (NoticeChannel.PUSH, row.has_device),
            )
            if is_usable
        }
        wanted = {channel: kinds for channel, kinds in channels.items() if kinds}
        if wanted:
            watchers.append(
                Watcher(
                    user_id=row.user_id,
                    email=row.email,
                    timezone=row.timezone,
                    preferences=preferences,
                    wanted=wanted,
                )
            )
    return watchers


def _allowed(kinds: frozenset[NoticeKind], role: UserRole) -> frozenset[NoticeKind]:
    scopes = SCOPES_OF[role]
    return frozenset(
        kind for kind in kinds if Scope.ADMIN in scopes or SCOPE_OF_KIND[kind] in scopes
    )

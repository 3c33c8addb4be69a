"""Tables of users, sessions, one-time tokens of mailed links, and failed sign-ins."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class UserRole(StrEnum):
    """The role of a user, which determines the user's scopes.

    Owners may do everything. Managers have all scopes except ``admin``. Agents reply to people and
    book appointments. Viewers only read. Marketers run campaigns and read figures. They see no
    amounts of money. Of a person, they see only first name and city.
    """

    OWNER = "owner"
    MANAGER = "manager"
    AGENT = "agent"
    VIEWER = "viewer"
    MARKETER = "marketer"


_READ = (Scope.CONTACTS_READ, Scope.CAMPAIGNS_READ, Scope.MESSAGES_READ, Scope.SALES_READ)
SCOPES_OF: dict[UserRole, tuple[Scope, ...]] = {
    UserRole.OWNER: (Scope.ADMIN,),
    UserRole.MANAGER: tuple(scope for scope in Scope if scope is not Scope.ADMIN),
    UserRole.AGENT: (*_READ, Scope.CONTACTS_WRITE, Scope.MESSAGES_SEND, Scope.SALES_WRITE),
    UserRole.VIEWER: _READ,
    UserRole.MARKETER: (
        *(Scope.CAMPAIGNS_READ, Scope.CAMPAIGNS_WRITE, Scope.CAMPAIGNS_SEND, Scope.INSIGHT_READ),
    ),
}
"""The scopes of each role."""
MASKED = frozenset(
    {
        *("GET /v1/contacts", "GET /v1/contacts/{contact_id}"),
        *("GET /v1/contacts/{contact_id}/timeline", "GET /v1/contacts/{contact_id}/engagement"),
        *(
            "GET /v1/lists",
            "POST /v1/lists",
            "GET /v1/lists/{list_id}",
            "PATCH /v1/lists/{list_id}",
        ),
        *("DELETE /v1/lists/{list_id}", "GET /v1/lists/{list_id}/contacts"),
        *("POST /v1/lists/{list_id}/contacts", "DELETE /v1/lists/{list_id}/contacts/{contact_id}"),
        *("GET /v1/segments", "GET /v1/segments/{segment_id}", "GET /v1/segments/fields"),
        *("GET /v1/segments/{segment_id}/count", "GET /v1/segments/{segment_id}/contacts"),
        *("GET /v1/tags", "GET /v1/custom-fields"),
    }
)
"""API operations that a user with the role marketer may call, although the scopes of this role do
not allow them. Some fields in the responses of these operations are hidden."""


class UserStatus(StrEnum):
    """The state of a user. Only an active user can sign in."""

    INVITED = "invited"
    """The user has not accepted the invitation yet."""
    ACTIVE = "active"
    DISABLED = "disabled"


class TicketPurpose(StrEnum):
    """What a user can do with the ticket (the one-time token) of a mailed link."""

    INVITATION = "invitation"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a purpose, no password


class User(Base):
    """A person who signs in with an e-mail address and a password."""

    __tablename__ = "app_user"
    __table_args__ = (
        CheckConstraint(one_of("role", UserRole), name="role"),
        CheckConstraint(one_of("status", UserStatus), name="status"),
        CheckConstraint("status <> 'active' OR password_hash IS NOT NULL", name="password"),
        Index("uq_app_user_email", text("lower(email)"), unique=True),
        Index("idx_app_user_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'invited'"))
    password_hash: Mapped[str | None]
    """The Argon2id hash in the PHC string format; None until the user has chosen a password."""
    last_login_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class UserSession(Base):
    """One sign-in of a user, with its current access token.

    The session can be renewed with a refresh token until ``expires_at``.
    """

    __tablename__ = "user_session"
    __table_args__ = (
        Index("uq_user_session_access_hash", "access_hash", unique=True),
        Index("idx_user_session_user", "user_id"),
        Index("idx_user_session_expires", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    access_hash: Mapped[bytes] = mapped_column(LargeBinary)
    access_expires_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class RefreshToken(Base):
    """A token that renews a session once. If it is used again later, it may have been stolen."""

    __tablename__ = "refresh_token"
    __table_args__ = (Index("idx_refresh_token_session", "session_id"),)

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("user_session.id", ondelete="CASCADE"))
    used_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class UserTicket(Base):
    """The one-time token of a mailed link. Only the hash of the token is stored."""

    __tablename__ = "user_ticket"
    __table_args__ = (
        CheckConstraint(one_of("purpose", TicketPurpose), name="purpose"),
        Index("idx_user_ticket_user", "user_id"),
    )

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    purpose: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]


class SignInThrottle(Base):
    """A counter of failed sign-ins.

    It counts the failures of an account, of a network address, or of an account at a network
    address. ``subject`` is a hash that identifies the account, the address, or both.
    """

    __tablename__ = "sign_in_throttle"

    subject: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    allowance: Mapped[int] = mapped_column(Integer)
    """The number of failed attempts that cause no wait. The next failed attempt causes a wait, and
    each further failed attempt doubles it, up to a limit."""
    failures: Mapped[int] = mapped_column(Integer)
    last_failed_at: Mapped[datetime]
    blocked_until: Mapped[datetime]


class SignInAddress(Base):
    """A network address from which a user has signed in or used a mailed link."""

    __tablename__ = "sign_in_address"

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("app_user.id", ondelete="CASCADE"), primary_key=True
    )
    address: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """The hash of the network address; for an IPv6 address, the hash of its /64 network."""
    last_used_at: Mapped[datetime]

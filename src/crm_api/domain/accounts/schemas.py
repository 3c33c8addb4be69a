"""Users and sign-ins in and out."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr

from crm_api.domain.accounts.addresses import SignInAddress
from crm_api.domain.accounts.models import SCOPES_OF, Role, UserStatus
from crm_api.domain.accounts.sessions import ACCESS_FOR, Tokens
from crm_api.domain.fields import Line200
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

Name = Annotated[Line200, Field(min_length=1)]


class UserInvite(RequestModel):
    """Somebody who shall be able to sign in."""

    email: SignInAddress
    name: Name
    role: Role


class UserUpdate(RequestModel):
    """What changes of a user; a field left out stays."""

    name: Name = ""
    role: Role = Role.VIEWER
    status: Literal[UserStatus.ACTIVE, UserStatus.DISABLED] = UserStatus.ACTIVE


class UserRead(ReadModel):
    """A user."""

    id: Id
    email: str
    name: str
    role: Role
    status: UserStatus
    last_login_at: Instant | None
    created_at: Instant
    updated_at: Instant


class UserInvited(UserRead):
    """A user and, where no mail server is set up, the invitation to pass on."""

    invitation_token: Annotated[
        str | None, Field(description="Shown only this once. Null when a mail carries it.")
    ]


class InvitationAccept(RequestModel):
    """The token of an invitation, and the password that its receiver chooses."""

    token: SecretStr
    password: SecretStr
    name: Name | None = None


class PasswordResetRequest(RequestModel):
    """Whose password was forgotten."""

    email: SignInAddress


class PasswordReset(RequestModel):
    """The token of a mail, and the new password."""

    token: SecretStr
    password: SecretStr


class PasswordChange(RequestModel):
    """The present password and the new one."""

    current_password: SecretStr
    password: SecretStr


class RefreshRequest(RequestModel):
    """The refresh token; left out when the cookie carries it."""

    refresh_token: SecretStr | None = None


class TokenRead(ReadModel):
    """An access token and what renews it (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - what kind it is
    expires_in: Annotated[int, Field(description="Seconds.")]
    refresh_token: Annotated[
        str | None, Field(description="Works once. Null when the cookie carries it.")
    ]
    scope: Annotated[str, Field(description="Separated by spaces.")]

    @classmethod
    def of(cls, tokens: Tokens, *, in_cookie: bool) -> Self:
        """Shape what a sign-in gives."""
        return cls(
            access_token=tokens.access,
            expires_in=int(ACCESS_FOR.total_seconds()),
            refresh_token=None if in_cookie else tokens.refresh,
            scope=" ".join(SCOPES_OF[Role(tokens.user.role)]),
        )


class CallerRead(ReadModel):
    """Who calls, and what they may do."""

    kind: Literal["user", "api_key"]
    id: str
    name: str
    email: str | None
    role: Role | None
    scopes: list[str]

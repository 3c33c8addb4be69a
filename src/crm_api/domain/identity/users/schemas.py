"""Request and answer models of users and sign-ins."""

import unicodedata
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl

from email_validator import EmailNotValidError, validate_email
from pydantic import BeforeValidator, Field, SecretStr, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.identity.users.models import SCOPES_OF, UserRole, UserStatus
from crm_api.domain.identity.users.sessions import ACCESS_FOR, SessionTokens
from crm_api.domain.kit.examples import (
    ACCESS_TOKEN,
    PASSWORD,
    REFRESH_TOKEN,
    TICKET,
    example,
    example_id,
)
from crm_api.domain.kit.fields import Line200, Text
from crm_api.domain.kit.schemas import DocumentedModel, Id, Instant, ReadModel, RequestModel


def normalize_email(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Return an e-mail address in its normal form.

    Two addresses that look alike must not be two users, and one address in two spellings must not
    be two users either. So:

    - Look-alike characters (full-width letters, ligatures) are replaced by the letter (NFKC).
    - The part before the ``@`` must be ASCII, which every mail server accepts.
    - An international host is stored in its ASCII form (``xn--…``), so that a Cyrillic letter in it
      is visible.
    - Case is ignored, by the unique index and by ``find_user_by_email``.

    Raises:
        PydanticCustomError: It is not an address, or not ASCII before the ``@``.
    """
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "Give the e-mail address as text.")
    try:
        found = validate_email(
            unicodedata.normalize("NFKC", value.strip()),
            check_deliverability=False,
            allow_smtputf8=False,
            strict=True,
        )
    except EmailNotValidError as error:
        raise PydanticCustomError("invalid_email", "{detail}", {"detail": str(error)}) from error
    return found.ascii_email or found.normalized


def normalize_email_or_keep(text: str) -> str:
    """Return an address in its normal form; other text unchanged, which then matches no user."""
    try:
        return normalize_email(text)
    except PydanticCustomError:
        return text.strip()


EmailAddress = Annotated[
    str, BeforeValidator(normalize_email), WithJsonSchema({"type": "string", "format": "email"})
]
"""An e-mail address that a user signs in with, in its normal form."""


MOST_FORM_FIELDS = 20

Name = Annotated[Line200, Field(min_length=1)]


class UserInvite(RequestModel):
    """A new user to invite."""

    model_config = example(email="olga@granite.example.com", name="Olga", role="agent")

    email: EmailAddress
    name: Name
    role: UserRole


class UserUpdate(RequestModel):
    """Changes to a user; omitted fields stay."""

    model_config = example(role="manager")

    name: Name = ""
    role: UserRole = UserRole.VIEWER
    status: Literal[UserStatus.ACTIVE, UserStatus.DISABLED] = UserStatus.ACTIVE


class UserRead(ReadModel):
    """A user.

    Attributes:
        last_login_at: When the user last signed in; null before the first time.
    """

    model_config = example(
        email="olga@granite.example.com", name="Olga", role="agent", status="active"
    )

    id: Id
    email: str
    name: str
    role: UserRole
    status: UserStatus
    last_login_at: Instant | None
    created_at: Instant
    updated_at: Instant


class UserInvited(UserRead):
    """A user and, if no mail server is set up, the invitation token to pass on."""

    model_config = example(UserRead, id=example_id("user"), last_login_at=None, status="invited")

    invitation_token: Annotated[
        str | None, Field(description="Shown only this once. Null if it is sent by mail.")
    ]


class InvitationAccept(RequestModel):
    """The token of an invitation, and the password that the new user chooses.

    Attributes:
        token: The token of the mail or the invitation.
        password: The new password.
    """

    model_config = example(token=TICKET, password=PASSWORD, name="Olga")

    token: SecretStr
    password: SecretStr
    name: Name | None = None


class PasswordResetRequest(RequestModel):
    """The e-mail address of the user who forgot the password."""

    model_config = example(email="olga@granite.example.com")

    email: EmailAddress


class PasswordReset(RequestModel):
    """The token from the mail, and the new password.

    Attributes:
        token: The token of the mail or the invitation.
        password: The new password.
    """

    model_config = example(token=TICKET, password=PASSWORD)

    token: SecretStr
    password: SecretStr


class PasswordChange(RequestModel):
    """The present password and the new one.

    Attributes:
        current_password: The current password.
        password: The new password.
    """

    model_config = example(
        current_password="the old password",  # noqa: S106 - made up
        password=PASSWORD,
    )

    current_password: SecretStr
    password: SecretStr


def _read_form(value: Any) -> Any:  # noqa: ANN401 - JSON, or the bytes of a form
    """Parse the body of a form; JSON is returned unchanged."""
    if not isinstance(value, bytes):
        return value
    return dict(parse_qsl(value.decode(), keep_blank_values=True, max_num_fields=MOST_FORM_FIELDS))


class SignInForm(DocumentedModel):
    """E-mail address and password, or a refresh token (OAuth2); as a form or as JSON.

    Other fields of OAuth2, such as `scope` and `client_id`, are ignored.
    """

    model_config = example(
        username="olga@granite.example.com", password=PASSWORD, grant_type="password"
    ) | {"extra": "ignore"}

    username: Annotated[str, Text(longest=320)] = Field(
        default="", description="The e-mail address of the user."
    )
    password: str = Field(
        default="", max_length=4096, repr=False, description="The password of the user."
    )
    refresh_token: Annotated[str, Text(longest=200)] = Field(
        default="",
        repr=False,
        description="The refresh token, for the grant `refresh_token`.",
    )
    grant_type: str = Field(default="password", description="`password` or `refresh_token`.")

    _form = model_validator(mode="before")(_read_form)


class RefreshRequest(RequestModel):
    """The refresh token, as JSON or as a form; omitted if the cookie carries it."""

    model_config = example(refresh_token=REFRESH_TOKEN)

    refresh_token: SecretStr | None = Field(
        default=None, description="The refresh token of the session."
    )

    _form = model_validator(mode="before")(_read_form)


class TokenRead(ReadModel):
    """An access token and the refresh token that renews it (RFC 6749, section 5.1).

    Attributes:
        access_token: The access token, for ``Authorization: Bearer``.
        token_type: Always ``bearer``.
    """

    model_config = example(
        access_token=ACCESS_TOKEN,
        expires_in=900,
        refresh_token=REFRESH_TOKEN,
        scope="contacts:read contacts:write",
    )

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - what kind it is
    expires_in: Annotated[int, Field(description="Seconds.")]
    refresh_token: Annotated[
        str | None, Field(description="Valid once. Null if the cookie carries it.")
    ]
    scope: Annotated[str, Field(description="Scopes, separated by spaces.")]

    @classmethod
    def of(cls, tokens: SessionTokens, *, in_cookie: bool) -> Self:
        """Shape the tokens of a sign-in."""
        return cls(
            access_token=tokens.access,
            expires_in=int(ACCESS_FOR.total_seconds()),
            refresh_token=None if in_cookie else tokens.refresh,
            scope=" ".join(SCOPES_OF[UserRole(tokens.user.role)]),
        )


class CallerRead(ReadModel):
    """The caller and its scopes.

    Attributes:
        kind: Whether the caller is a user or an API key.
        name: The name of the key, or the e-mail address of the user.
        scopes: The scopes; ``admin`` includes all.
    """

    model_config = example(
        id=example_id("user"),
        name="olga@granite.example.com",
        email="olga@granite.example.com",
        role="agent",
    )

    kind: Literal["user", "api_key"]
    id: str
    name: str
    email: str | None
    role: UserRole | None
    scopes: list[str]

"""API models of users, sign-ins and passwords."""

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
    """Return an e-mail address in its normal form, so that one address has one spelling.

    Full-width letters and ligatures become plain letters (NFKC). An international host becomes
    ASCII (``xn--…``). The case of letters before ``@`` is kept. The unique index and
    ``find_user_by_email`` ignore the case.

    Raises:
        PydanticCustomError: The value is not an e-mail address, or the part before ``@`` is not
            ASCII.
    """
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "The e-mail address must be a string.")
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
    """Return an e-mail address in its normal form.

    A text that is not an address is returned without the spaces at its ends. Such a text matches no
    user.
    """
    try:
        return normalize_email(text)
    except PydanticCustomError:
        return text.strip()


EmailAddress = Annotated[
    str, BeforeValidator(normalize_email), WithJsonSchema({"type": "string", "format": "email"})
]
"""The e-mail address with which a user signs in. Validation converts it to one standard form."""


MOST_FORM_FIELDS = 20

Name = Annotated[Line200, Field(min_length=1)]


class UserInvite(RequestModel):
    """The e-mail address, name and role of a user to invite.

    Attributes:
        role: The role, which determines what the user may do.
    """

    model_config = example(email="olga@granite.example.com", name="Olga", role="agent")

    email: EmailAddress
    name: Name
    role: UserRole


class UserUpdate(RequestModel):
    """Changes to a user; fields that are left out do not change.

    Attributes:
        role: The new role, which determines what the user may do.
        status: `disabled` ends every session of the user and prevents a new sign-in. `active` lets
            the user sign in again; a user without a password becomes `invited` instead.
    """

    model_config = example(role="manager")

    name: Name = ""
    role: UserRole = UserRole.VIEWER
    status: Literal[UserStatus.ACTIVE, UserStatus.DISABLED] = UserStatus.ACTIVE


class UserRead(ReadModel):
    """A user who can sign in, or who is invited to do so.

    Attributes:
        status: `invited` until the user has chosen a password, then `active`. A `disabled` user
            cannot sign in.
        last_login_at: When the user last signed in; null if the user has never signed in.
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


class ColleagueRead(ReadModel):
    """An active user, with the fields that colleagues may see."""

    model_config = example(email="olga@granite.example.com", name="Olga")

    id: Id
    email: str
    name: str


class UserInvited(UserRead):
    """An invited user, and the token of the invitation.

    If this service has mailed the invitation, the token is null.
    """

    model_config = example(UserRead, id=example_id("user"), last_login_at=None, status="invited")

    invitation_token: Annotated[
        str | None,
        Field(
            description="The token of the invitation, which you must send to the user yourself. No "
            "other response contains the token. Null if the service has mailed the invitation."
        ),
    ]


class InvitationAccept(RequestModel):
    """The token of an invitation, and the password that the new user chooses.

    Attributes:
        token: The token from the invitation.
        password: The new password, with 10 to 256 characters.
        name: The user's name; null keeps the name of the invitation.
    """

    model_config = example(token=TICKET, password=PASSWORD, name="Olga")

    token: SecretStr
    password: SecretStr
    name: Name | None = None


class FirstOwnerRead(ReadModel):
    """Whether this service still waits for its first user.

    Attributes:
        needed: True until the first user exists.
    """

    model_config = example(needed=True)

    needed: bool


class FirstOwnerCreate(RequestModel):
    """The first user, who is an owner, and the token that is needed to create this user.

    Attributes:
        token: The token from the link that the first start of the service printed.
        email: The e-mail address with which the owner signs in.
        name: The owner's name.
        password: The new password, with 10 to 256 characters.
    """

    model_config = example(
        token=TICKET, email="olga@granite.example.com", name="Olga", password=PASSWORD
    )

    token: SecretStr
    email: EmailAddress
    name: Name
    password: SecretStr


class PasswordResetRequest(RequestModel):
    """The e-mail address of a user who has forgotten the password."""

    model_config = example(email="olga@granite.example.com")

    email: EmailAddress


class PasswordResetWay(ReadModel):
    """How a user who has forgotten the password gets a link to choose a new one.

    Attributes:
        by_mail: True if this service sends the link by mail. If it is false, an owner makes a link
            with POST /v1/users/{user_id}/password-reset, or `crm-api users reset-password` prints
            one.
    """

    model_config = example(by_mail=True)

    by_mail: bool


class PasswordResetLink(ReadModel):
    """A new link to reset a password. Its token is null if the service has mailed the link."""

    model_config = example(reset_token=None)

    reset_token: Annotated[
        str | None,
        Field(
            description="The token of the link, which you must send to the user yourself. It works "
            "once, for one hour, and no other response contains it. Null if the service has "
            "mailed the link."
        ),
    ]


class PasswordReset(RequestModel):
    """The token from the mail to reset the password, and the new password.

    Attributes:
        token: The token from the mail.
        password: The new password, with 10 to 256 characters.
    """

    model_config = example(token=TICKET, password=PASSWORD)

    token: SecretStr
    password: SecretStr


class PasswordChange(RequestModel):
    """The current password and the new password of the caller.

    Attributes:
        current_password: The current password.
        password: The new password, with 10 to 256 characters.
    """

    model_config = example(
        current_password="the old password",  # noqa: S106 - made up
        password=PASSWORD,
    )

    current_password: SecretStr
    password: SecretStr


def _read_form(value: Any) -> Any:  # noqa: ANN401 - JSON, or the bytes of a form
    """Parse the bytes of a form to a dictionary; return JSON values unchanged."""
    if not isinstance(value, bytes):
        return value
    return dict(parse_qsl(value.decode(), keep_blank_values=True, max_num_fields=MOST_FORM_FIELDS))


class SignInForm(DocumentedModel):
    """An OAuth2 token request: an e-mail address and a password, or a refresh token.

    It can be sent as a form or as JSON. Other fields of OAuth2, such as `scope` and `client_id`,
    are ignored.
    """

    model_config = example(
        username="olga@granite.example.com", password=PASSWORD, grant_type="password"
    ) | {"extra": "ignore"}

    username: Annotated[str, Text(longest=320)] = Field(
        default="", description="The e-mail address of the user, for the grant `password`."
    )
    password: str = Field(
        default="",
        max_length=4096,
        repr=False,
        description="The password of the user, for the grant `password`.",
    )
    refresh_token: Annotated[str, Text(longest=200)] = Field(
        default="",
        repr=False,
        description="The refresh token, for the grant `refresh_token`.",
    )
    grant_type: str = Field(
        default="password",
        description="`password` to sign in with `username` and `password`, or `refresh_token` to "
        "renew the tokens with `refresh_token`.",
    )

    _form = model_validator(mode="before")(_read_form)


class RefreshRequest(RequestModel):
    """The refresh token, as JSON or as a form; not needed if the token is in the cookie."""

    model_config = example(refresh_token=REFRESH_TOKEN)

    refresh_token: SecretStr | None = Field(
        default=None,
        description="The refresh token of the session. If it is null, the cookie is used.",
    )

    _form = model_validator(mode="before")(_read_form)


class TokenRead(ReadModel):
    """An access token and the refresh token that renews it (RFC 6749, section 5.1).

    Attributes:
        access_token: The token for the header ``Authorization: Bearer``.
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
    expires_in: Annotated[
        int, Field(description="The number of seconds until the access token expires.")
    ]
    refresh_token: Annotated[
        str | None,
        Field(
            description="The token that renews both tokens. It can be used once. Null if it is in "
            "the cookie."
        ),
    ]
    scope: Annotated[str, Field(description="The scopes of the user, separated by spaces.")]

    @classmethod
    def of(cls, tokens: SessionTokens, *, in_cookie: bool) -> Self:
        """Build the API model from the tokens.

        If ``in_cookie`` is True, the response sends the refresh token in a cookie, and the model
        does not contain this token.
        """
        return cls(
            access_token=tokens.access,
            expires_in=int(ACCESS_FOR.total_seconds()),
            refresh_token=None if in_cookie else tokens.refresh,
            scope=" ".join(SCOPES_OF[UserRole(tokens.user.role)]),
        )


class CallerRead(ReadModel):
    """The user or API key that sent the request, and its scopes.

    Attributes:
        kind: Whether the caller is a user or an API key.
        id: The id of the user or of the API key.
        name: The name of the API key, or the e-mail address of the user.
        email: The e-mail address of the user; null for an API key.
        role: The role of the user; null for an API key.
        scopes: The scopes; ``admin`` includes all other scopes.
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

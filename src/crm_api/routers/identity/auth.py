"""Routes to sign in, renew tokens, sign out, and set or reset a password."""

import hmac
import secrets
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request, Response

from crm_api.domain.alerts.outgoing_mail import service as mailbox
from crm_api.domain.identity.users import (
    credentials,
    first_owner,
    mailed_links,
    password_changes,
    sessions,
    sign_in_limits,
)
from crm_api.domain.identity.users import service as accounts
from crm_api.domain.identity.users.errors import (
    CsrfError,
    OwnerExistsError,
    SessionOverError,
    UnsupportedGrantError,
    WrongCredentialsError,
)
from crm_api.domain.identity.users.models import TicketPurpose
from crm_api.domain.identity.users.schemas import (
    CallerRead,
    FirstOwnerCreate,
    FirstOwnerRead,
    InvitationAccept,
    PasswordChange,
    PasswordReset,
    PasswordResetRequest,
    RefreshRequest,
    SignInForm,
    TokenRead,
    UserRead,
    normalize_email_or_keep,
)
from crm_api.domain.identity.users.sessions import SessionTokens
from crm_api.platform import clock
from crm_api.routers.http.credentials import REFRESH_COOKIE
from crm_api.routers.http.deps import AnyCaller, AppState, SignedIn, State, Uow, mail_sender
from crm_api.routers.http.paths import FORM
from crm_api.routers.http.route_notes import fails_with

router = APIRouter(prefix="/v1/auth", tags=["auth"])

CSRF_COOKIE = "crm_csrf"
CsrfToken = Annotated[
    str,
    Header(
        description="The value of the cookie `crm_csrf`. It is required if the refresh token is "
        "in a cookie.",
        examples=["mC2b0qvQ3yT8xk1Zr5uNfw"],
    ),
]
COOKIE_PATH = "/v1/auth"

NOTHING: dict[int | str, dict[str, Any]] = {
    HTTPStatus.ACCEPTED: {"content": {"application/json": {"schema": {"type": "null"}}}}
}


def as_form(schema: str) -> dict[str, Any]:
    """Return the OpenAPI text that says that the body may also be sent as a form.

    Args:
        schema: The name of the component that describes the body.
    """
    content = {FORM: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"content": content}}


InCookie = Annotated[
    bool,
    Query(
        alias="cookie",
        description="If true, the refresh token is set as a cookie that scripts cannot read, and "
        "the answer does not contain it. To renew the tokens, send the value of the cookie "
        "`crm_csrf` in the header `X-CSRF-Token`.",
    ),
]


@router.post(
    "/token",
    openapi_extra=as_form("SignInForm")
    | fails_with(
        "passwords_busy",
        "session_over",
        "too_many_sign_ins",
        "unsupported_grant_type",
        "wrong_credentials",
    ),
)
async def sign_in(
    request: Request,
    response: Response,
    uow: Uow,
    state: State,
    *,
    body: Annotated[SignInForm, Body(default_factory=SignInForm)],
    in_cookie: InCookie = False,
) -> TokenRead:
    """Sign in with an e-mail address and a password, and get tokens (OAuth2 password grant).

    With `grant_type=refresh_token`, this renews the tokens of a session.
    """
    if body.grant_type == "refresh_token" and body.refresh_token:
        tokens = await _renewed(uow, body.refresh_token)
        return _given(response, state, tokens, in_cookie=in_cookie)
    if body.grant_type != "password":
        raise UnsupportedGrantError
    async with uow:
        counted = await sessions.begin_sign_in(
            uow,
            email=normalize_email_or_keep(body.username),
            address=_address(request),
            now=clock.wall_now(),
        )
    user = counted.user
    known = user.password_hash if user else None
    is_right = await state.passwords.verify(body.password, known)
    if user is None or known is None or not is_right:
        raise WrongCredentialsError
    async with uow:
        tokens = await sessions.begin_session(
            uow, user_id=user.id, password_hash=known, now=clock.wall_now(), counted=counted
        )
    return _given(response, state, tokens, in_cookie=in_cookie)


@router.post(
    "/refresh",
    openapi_extra=as_form("RefreshRequest") | fails_with("csrf_token_missing", "session_over"),
)
async def refresh(
    request: Request,
    response: Response,
    uow: Uow,
    state: State,
    *,
    body: RefreshRequest | None = None,
    x_csrf_token: CsrfToken = "",
) -> TokenRead:
    """Get a new access token and a new refresh token for a session.

    A refresh token can be used once. If it is used again more than ten seconds after its first use,
    the session ends, because the token may be stolen.
    """
    if body is not None and body.refresh_token is not None:
        tokens = await _renewed(uow, body.refresh_token.get_secret_value())
        return _given(response, state, tokens, in_cookie=False)
    token = _token_of_cookie(request, x_csrf_token)
    return _given(response, state, await _renewed(uow, token), in_cookie=True)


@router.post(
    "/sign-out",
    status_code=HTTPStatus.NO_CONTENT,
    openapi_extra=as_form("RefreshRequest") | fails_with("csrf_token_missing", "session_over"),
)
async def sign_out(
    request: Request,
    response: Response,
    uow: Uow,
    body: RefreshRequest | None = None,
    x_csrf_token: CsrfToken = "",
) -> None:
    """End the session to which the refresh token belongs.

    Send the refresh token in the body or in the cookie.
    """
    if body is not None and body.refresh_token is not None:
        token = body.refresh_token.get_secret_value()
    else:
        token = _token_of_cookie(request, x_csrf_token)
    async with uow:
        await sessions.sign_out_by_refresh(uow, token, now=clock.wall_now())
    response.delete_cookie(REFRESH_COOKIE, path=COOKIE_PATH)
    response.delete_cookie(CSRF_COOKIE, path="/")


@router.post(
    "/sign-out-everywhere",
    status_code=HTTPStatus.NO_CONTENT,
    openapi_extra=fails_with("user_needed"),
)
async def sign_out_everywhere(uow: Uow, caller: SignedIn) -> None:
    """End every session of the signed-in user, including the session of this request."""
    async with uow:
        await sessions.sign_out_everywhere(
            uow, user_id=caller.user_id, actor=caller.name, now=clock.wall_now()
        )


@router.get("/me")
async def read_caller(caller: AnyCaller) -> CallerRead:
    """Show which user or API key sent this request, and its scopes."""
    return CallerRead(
        kind="user" if caller.user is not None else "api_key",
        id=caller.id,
        name=caller.name,
        email=caller.user.email if caller.user else None,
        role=caller.user.role if caller.user else None,
        scopes=sorted(caller.scopes),
    )


@router.post(
    "/password",
    status_code=HTTPStatus.NO_CONTENT,
    openapi_extra=fails_with(
        "passwords_busy", "too_many_sign_ins", "user_needed", "weak_password", "wrong_credentials"
    ),
)
async def change_password(
    request: Request, body: PasswordChange, uow: Uow, state: State, caller: SignedIn
) -> None:
    """Change the password of the signed-in user. This ends every session of the user.

    A wrong current password counts as a failed sign-in.
    """
    current, password = body.current_password.get_secret_value(), body.password.get_secret_value()
    async with uow:
        user = await accounts.read_user(uow, user_id=caller.user_id)
        credentials.check_password_strength(password, email=user.email, name=user.name)
        # The attempt counts as failed until the password is verified, as for a sign-in.
        counted = await sign_in_limits.count_attempt(
            uow, user, email=user.email, address=_address(request), now=clock.wall_now()
        )
    known = user.password_hash
    if not await state.passwords.verify(current, known) or known is None:
        raise WrongCredentialsError
    hashed = await state.passwords.hash_password(password)
    async with uow:
        await password_changes.change_password(
            uow,
            user_id=user.id,
            known_hash=known,
            password_hash=hashed,
            now=clock.wall_now(),
        )
        await sign_in_limits.uncount_attempt(uow, counted)


@router.post("/password-reset", status_code=HTTPStatus.ACCEPTED, responses=NOTHING)
async def forget_password(body: PasswordResetRequest, uow: Uow, state: State) -> None:
    """Mail a link to reset the password to the user with this e-mail address.

    The response is the same if there is no such user, so it does not reveal whether the user
    exists.
    """
    now = clock.wall_now()
    async with uow:
        found = await password_changes.request_password_reset(uow, email=body.email, now=now)
        if found is not None:
            subject, text = mailed_links.write_password_reset_mail(
                *found, await mail_sender(uow, state)
            )
            await mailbox.queue_mail(
                uow,
                to=found[0].email,
                subject=subject,
                body=text,
                lasts=mailed_links.RESET_FOR,
                secret=state.secret,
                now=now,
            )


@router.post(
    "/password-reset/confirm",
    openapi_extra=fails_with("passwords_busy", "ticket_over", "weak_password"),
)
async def reset_password(request: Request, body: PasswordReset, uow: Uow, state: State) -> UserRead:
    """Set a new password with the token from the mail. This ends every session of the user."""
    token, password = body.token.get_secret_value(), body.password.get_secret_value()
    await _require_ticket(uow, token, TicketPurpose.PASSWORD_RESET)
    credentials.check_password_strength(password, email="", name="")
    hashed = await state.passwords.hash_password(password)
    now = clock.wall_now()
    async with uow:
        user = await password_changes.reset_password(
            uow, token=token, password_hash=hashed, now=now
        )
        await sign_in_limits.remember_address(uow, user, address=_address(request), now=now)
    return UserRead.model_validate(user)


@router.post(
    "/invitations/accept",
    openapi_extra=fails_with("passwords_busy", "ticket_over", "weak_password"),
)
async def accept_invitation(
    request: Request, body: InvitationAccept, uow: Uow, state: State
) -> UserRead:
    """Accept an invitation: set the password of the new user. Then sign in with the password."""
    token, password = body.token.get_secret_value(), body.password.get_secret_value()
    await _require_ticket(uow, token, TicketPurpose.INVITATION)
    credentials.check_password_strength(password, email="", name=body.name or "")
    hashed = await state.passwords.hash_password(password)
    now = clock.wall_now()
    async with uow:
        user = await password_changes.accept_invitation(
            uow, token=token, password_hash=hashed, name=body.name, now=now
        )
        await sign_in_limits.remember_address(uow, user, address=_address(request), now=now)
    return UserRead.model_validate(user)


@router.get("/first-owner")
async def check_first_owner(uow: Uow) -> FirstOwnerRead:
    """Show whether this service still waits for its first user."""
    async with uow:
        return FirstOwnerRead(needed=await first_owner.is_first_owner_needed(uow))


@router.post(
    "/first-owner",
    status_code=HTTPStatus.CREATED,
    openapi_extra=fails_with("owner_exists", "passwords_busy", "ticket_over", "weak_password"),
)
async def create_first_owner(
    request: Request, body: FirstOwnerCreate, uow: Uow, state: State
) -> UserRead:
    """Create the first user, an owner, with the link that `crm-api up` prints. Then sign in.

    The link works while the service has no user.
    """
    password = body.password.get_secret_value()
    first_owner.require_first_owner_token(
        body.token.get_secret_value(), state.settings.first_owner_tokens()
    )
    async with uow:
        if not await first_owner.is_first_owner_needed(uow):
            raise OwnerExistsError
    credentials.check_password_strength(password, email=body.email, name=body.name)
    hashed = await state.passwords.hash_password(password)
    now = clock.wall_now()
    async with uow:
        user = await first_owner.create_first_owner(
            uow, email=body.email, name=body.name, password_hash=hashed, now=now
        )
        await sign_in_limits.remember_address(uow, user, address=_address(request), now=now)
    return UserRead.model_validate(user)


async def _require_ticket(uow: Uow, token: str, purpose: TicketPurpose) -> None:
    """Check the token of a link before the password is hashed, because hashing is expensive.

    Raises:
        TicketOverError: The token does not exist, was used, or has expired.
    """
    async with uow:
        await mailed_links.require_ticket(uow, token=token, purpose=purpose, now=clock.wall_now())


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _renewed(uow: Uow, token: str) -> SessionTokens:
    async with uow:
        tokens = await sessions.renew_session(uow, token, now=clock.wall_now())
    if tokens is None:  # only now, because the commit ends the session of a token used twice
        raise SessionOverError
    return tokens


def _token_of_cookie(request: Request, csrf_token: str) -> str:
    """Return the refresh token from the cookie.

    The CSRF token must be equal to the CSRF cookie. Only a page of our own site can read that
    cookie, so this proves that another site did not cause the request.

    Raises:
        SessionOverError: There is no cookie with a refresh token.
        CsrfError: The CSRF token does not match the CSRF cookie.
    """
    token = request.cookies.get(REFRESH_COOKIE)
    if token is None:
        raise SessionOverError
    if not hmac.compare_digest(
        request.cookies.get(CSRF_COOKIE, "").encode(), csrf_token.encode() or b"-"
    ):
        raise CsrfError
    return token


def _given(
    response: Response, state: AppState, tokens: SessionTokens, *, in_cookie: bool
) -> TokenRead:
    """Build the response with the tokens, set the cookies, and forbid caching."""
    response.headers["Cache-Control"] = "no-store"
    if in_cookie:
        is_secure = state.settings.public_base_url.startswith("https://")
        seconds = int((tokens.ends_at - clock.wall_now()).total_seconds())
        response.set_cookie(
            REFRESH_COOKIE,
            tokens.refresh,
            max_age=seconds,
            path=COOKIE_PATH,
            httponly=True,
            secure=is_secure,
            samesite="strict",
        )
        response.set_cookie(
            CSRF_COOKIE,
            secrets.token_urlsafe(16),
            max_age=seconds,
            path="/",
            secure=is_secure,
            samesite="strict",
        )
    return TokenRead.of(tokens, in_cookie=in_cookie)

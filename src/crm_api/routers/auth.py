"""Signing in and out, and choosing a password."""

import hmac
import secrets
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Form, Header, Query, Request, Response

from crm_api import clock
from crm_api.domain.accounts import letters, passwords, sessions
from crm_api.domain.accounts import service as accounts
from crm_api.domain.accounts.addresses import as_kept
from crm_api.domain.accounts.errors import (
    CsrfError,
    SessionOverError,
    UnsupportedGrantError,
    WrongCredentialsError,
)
from crm_api.domain.accounts.schemas import (
    CallerRead,
    InvitationAccept,
    PasswordChange,
    PasswordReset,
    PasswordResetRequest,
    RefreshRequest,
    TokenRead,
    UserRead,
)
from crm_api.domain.accounts.sessions import Attempt, Tokens
from crm_api.domain.mailbox import service as mailbox
from crm_api.routers.deps import AnyCaller, AppState, SignedIn, State, Uow, mail_sender

router = APIRouter(prefix="/v1/auth", tags=["auth"])

REFRESH_COOKIE, CSRF_COOKIE = "crm_refresh", "crm_csrf"
COOKIE_PATH = "/v1/auth"

NOTHING: dict[int | str, dict[str, Any]] = {
    HTTPStatus.ACCEPTED: {"content": {"application/json": {"schema": {"type": "null"}}}}
}

InCookie = Annotated[
    bool,
    Query(
        alias="cookie",
        description="Keep the refresh token in a cookie that scripts cannot read. Renewing then "
        "needs the value of the cookie crm_csrf in the header X-CSRF-Token.",
    ),
]


@router.post("/token")
async def sign_in(
    request: Request,
    response: Response,
    uow: Uow,
    state: State,
    *,
    username: Annotated[str, Form(max_length=320)] = "",
    password: Annotated[str, Form(max_length=4096)] = "",
    refresh_token: Annotated[str, Form(max_length=200)] = "",
    grant_type: Annotated[str, Form()] = "password",
    in_cookie: InCookie = False,
) -> TokenRead:
    """Exchange an e-mail address and a password for tokens (OAuth2, password grant)."""
    if grant_type == "refresh_token" and refresh_token:
        return _given(response, state, await _renewed(uow, refresh_token), in_cookie=in_cookie)
    if grant_type != "password":
        raise UnsupportedGrantError
    address = request.client.host if request.client else ""
    attempt = Attempt(email=as_kept(username), address=address)
    async with uow:
        user = await sessions.begin_attempt(uow, attempt, now=clock.wall_now())
    is_right = await passwords.verify(password, user.password_hash if user else None)
    if user is None or not is_right:
        raise WrongCredentialsError
    async with uow:
        tokens = await sessions.begin_session(uow, user.id, now=clock.wall_now(), attempt=attempt)
    return _given(response, state, tokens, in_cookie=in_cookie)


@router.post("/refresh")
async def refresh(
    request: Request,
    response: Response,
    uow: Uow,
    state: State,
    *,
    body: RefreshRequest | None = None,
    x_csrf_token: Annotated[str, Header()] = "",
) -> TokenRead:
    """Renew the tokens; a refresh token works once, and used again it ends the session."""
    if body is not None and body.refresh_token is not None:
        tokens = await _renewed(uow, body.refresh_token.get_secret_value())
        return _given(response, state, tokens, in_cookie=False)
    token = _token_of_cookie(request, x_csrf_token)
    return _given(response, state, await _renewed(uow, token), in_cookie=True)


@router.post("/sign-out", status_code=HTTPStatus.NO_CONTENT)
async def sign_out(
    request: Request,
    response: Response,
    uow: Uow,
    body: RefreshRequest | None = None,
    x_csrf_token: Annotated[str, Header()] = "",
) -> None:
    """End this session, named by its refresh token or its cookie."""
    if body is not None and body.refresh_token is not None:
        token = body.refresh_token.get_secret_value()
    else:
        token = _token_of_cookie(request, x_csrf_token)
    async with uow:
        await sessions.sign_out_by_refresh(uow, token, now=clock.wall_now())
    response.delete_cookie(REFRESH_COOKIE, path=COOKIE_PATH)
    response.delete_cookie(CSRF_COOKIE, path="/")


@router.post("/sign-out-everywhere", status_code=HTTPStatus.NO_CONTENT)
async def sign_out_everywhere(uow: Uow, caller: SignedIn) -> None:
    """End every session of the caller, this one too."""
    async with uow:
        await sessions.sign_out_everywhere(
            uow, user_id=caller.user_id, actor=caller.name, now=clock.wall_now()
        )


@router.get("/me")
async def read_caller(caller: AnyCaller) -> CallerRead:
    """Tell who calls, and what they may do."""
    return CallerRead(
        kind="user" if caller.user is not None else "api_key",
        id=caller.id,
        name=caller.name,
        email=caller.user.email if caller.user else None,
        role=caller.user.role if caller.user else None,
        scopes=sorted(caller.scopes),
    )


@router.post("/password", status_code=HTTPStatus.NO_CONTENT)
async def change_password(body: PasswordChange, uow: Uow, caller: SignedIn) -> None:
    """Replace the caller's password; every session of theirs ends."""
    async with uow:
        user = await accounts.get(uow, user_id=caller.user_id)
    if not await passwords.verify(body.current_password.get_secret_value(), user.password_hash):
        raise WrongCredentialsError
    password = body.password.get_secret_value()
    passwords.check(password, email=user.email, name=user.name)
    hashed = await passwords.hash_password(password)
    async with uow:
        await accounts.change_password(
            uow, user_id=user.id, password_hash=hashed, now=clock.wall_now()
        )


@router.post("/password-reset", status_code=HTTPStatus.ACCEPTED, responses=NOTHING)
async def forget_password(body: PasswordResetRequest, uow: Uow, state: State) -> None:
    """Send a mail by which a forgotten password is replaced; the answer tells nobody who exists."""
    now = clock.wall_now()
    async with uow:
        found = await accounts.forget_password(uow, email=body.email, now=now)
        if found is not None:
            subject, text = letters.password_reset(*found, mail_sender(state))
            await mailbox.post(
                uow,
                to=found[0].email,
                subject=subject,
                body=text,
                lasts=accounts.RESET_FOR,
                secret=state.secret,
                now=now,
            )


@router.post("/password-reset/confirm")
async def reset_password(body: PasswordReset, uow: Uow) -> UserRead:
    """Choose the new password by the token of the mail; every session of the user ends."""
    password = body.password.get_secret_value()
    passwords.check(password, email="", name="")
    hashed = await passwords.hash_password(password)
    async with uow:
        user = await accounts.reset_password(
            uow, token=body.token.get_secret_value(), password_hash=hashed, now=clock.wall_now()
        )
    return UserRead.model_validate(user)


@router.post("/invitations/accept")
async def accept_invitation(body: InvitationAccept, uow: Uow) -> UserRead:
    """Choose a password by the token of an invitation; then sign in."""
    password = body.password.get_secret_value()
    passwords.check(password, email="", name=body.name or "")
    hashed = await passwords.hash_password(password)
    async with uow:
        user = await accounts.accept_invitation(
            uow,
            token=body.token.get_secret_value(),
            password_hash=hashed,
            name=body.name,
            now=clock.wall_now(),
        )
    return UserRead.model_validate(user)


async def _renewed(uow: Uow, token: str) -> Tokens:
    async with uow:
        tokens = await sessions.renew(uow, token, now=clock.wall_now())
    if tokens is None:  # after the commit: a stolen token has ended its session
        raise SessionOverError
    return tokens


def _token_of_cookie(request: Request, csrf_token: str) -> str:
    """Take the refresh token from its cookie, if a page of our own sent the request."""
    token = request.cookies.get(REFRESH_COOKIE)
    if token is None:
        raise SessionOverError
    if not hmac.compare_digest(
        request.cookies.get(CSRF_COOKIE, "").encode(), csrf_token.encode() or b"-"
    ):
        raise CsrfError
    return token


def _given(response: Response, state: AppState, tokens: Tokens, *, in_cookie: bool) -> TokenRead:
    """Answer with the tokens, which nothing on the way may keep."""
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

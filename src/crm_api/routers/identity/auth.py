"""Routes to sign in, renew tokens and sign out, and to return who the caller is."""

import hmac
import secrets
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Body, Header, Query, Request, Response

from crm_api.domain.identity.users import sessions
from crm_api.domain.identity.users.errors import (
    CsrfError,
    SessionOverError,
    UnsupportedGrantError,
    WrongCredentialsError,
)
from crm_api.domain.identity.users.schemas import (
    CallerRead,
    RefreshRequest,
    SignInForm,
    TokenRead,
    normalize_email_or_keep,
)
from crm_api.domain.identity.users.sessions import SessionTokens
from crm_api.platform import clock
from crm_api.routers.http.credentials import REFRESH_COOKIE, client_address
from crm_api.routers.http.deps import AnyCaller, AppState, SignedIn, State, Uow
from crm_api.routers.http.paths import FORM
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/auth", tags=["auth"])

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


def as_form(schema: str) -> dict[str, Any]:
    """Return the part of an OpenAPI operation that allows a form as the request body.

    Args:
        schema: The name of the schema that describes the form, in ``components/schemas``.
    """
    content = {FORM: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"content": content}}


InCookie = Annotated[
    bool,
    Query(
        alias="cookie",
        description="If true, the refresh token is set as a cookie that scripts cannot read, and "
        "the response body does not contain it. To renew the tokens, send the value of the cookie "
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

    With `grant_type=refresh_token`, this operation renews the tokens of a session.
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
            address=client_address(request),
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
    the session ends, because the token may have been stolen.
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
    """Show which user or API key sent this request, and the scopes of this caller."""
    return CallerRead(
        kind="user" if caller.user is not None else "api_key",
        id=caller.id,
        name=caller.name,
        email=caller.user.email if caller.user else None,
        role=caller.user.role if caller.user else None,
        scopes=sorted(caller.scopes),
    )


async def _renewed(uow: Uow, token: str) -> SessionTokens:
    async with uow:
        tokens = await sessions.renew_session(uow, token, now=clock.wall_now())
    # If a refresh token was used twice, its session is revoked. The error is raised after the
    # commit, so that this change is not rolled back.
    if tokens is None:
        raise SessionOverError
    return tokens


def _token_of_cookie(request: Request, csrf_token: str) -> str:
    """Return the refresh token from the cookie.

    Only a page of our own site can read the CSRF cookie. So if ``csrf_token`` is equal to this
    cookie, no other site has caused the request.

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

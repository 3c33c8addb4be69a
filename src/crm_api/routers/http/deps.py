"""Dependencies of the routes: unit of work, caller, page, application state.

All of them are ``async def``. FastAPI runs other dependencies in a thread, and starting the thread
takes longer than the dependency itself.
"""

import re
import time
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request
from fastapi.routing import APIRoute
from starlette.types import Scope as AsgiScope

from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.identity.api_keys import authentication
from crm_api.domain.identity.api_keys.errors import (
    MissingCredentialsError,
    MissingScopeError,
    UserNeededError,
)
from crm_api.domain.identity.api_keys.key_usage import KeyUsage
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.identity.users import sessions
from crm_api.domain.identity.users.credentials import ACCESS_PREFIX, PasswordHasher
from crm_api.domain.identity.users.mailed_links import UserMailSender
from crm_api.domain.identity.users.models import SCOPES_OF
from crm_api.domain.identity.users.sessions import AuthenticatedUser
from crm_api.domain.kit.errors import UnauthenticatedError
from crm_api.domain.messaging.company import service as company
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.hot_reads import HotReads
from crm_api.platform.replica import Replica
from crm_api.platform.request_context import RequestOrigin
from crm_api.platform.settings import Settings
from crm_api.routers.http.credentials import bearer_token
from crm_api.routers.http.exchange import CHANGING, EXCHANGE, ORIGIN, Exchange
from crm_api.routers.http.request_outcome import HANDLED, Handled

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""The path parameters that the audit log may store. Its entries are never deleted, so it must not
get free text, which may be personal data."""


@dataclass(frozen=True, kw_only=True)
class AppState:
    """Objects that live as long as the web process."""

    settings: Settings
    new_uow: UnitOfWorkFactory
    secret: bytes = field(repr=False)
    provider: OpenPhoneClient
    rules: RuleBook
    replica: Replica | None = None
    passwords: PasswordHasher = field(default_factory=PasswordHasher)

    def new_list_uow(self) -> UnitOfWork:
        """Make a unit of work for lists and statistics, on the replica if there is one."""
        return self.new_uow() if self.replica is None else self.replica.new_uow()


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The caller, an API key or a user, with the caller's scopes.

    Attributes:
        id: The id of the key or the user.
        name: The name in the audit log and the consent history.
        user: None for an API key.
    """

    id: str
    name: str
    scopes: frozenset[str]
    user: AuthenticatedUser | None = None

    def may(self, scope: Scope) -> bool:
        """Return True if the caller has the scope or ``admin``."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def user_id(self) -> UUID:
        """The user's id.

        Raises:
            UserNeededError: The caller is an API key.
        """
        if self.user is None:
            raise UserNeededError
        return self.user.id


@dataclass(frozen=True, kw_only=True)
class PageParams:
    """The page of a list that the caller wants."""

    limit: int
    cursor: str | None


async def app_state(request: Request) -> AppState:
    """Return the state of the application."""
    state: AppState = request.app.state.crm
    return state


State = Annotated[AppState, Depends(app_state)]


async def new_uow(request: Request, state: State) -> UnitOfWork:
    """Make a unit of work that the route opens.

    For a request that changes something, it is the unit of the ``Exchange``, so that the answer is
    stored in the same transaction as the change (``preconditions``).
    """
    exchange: Exchange | None = request.scope.get(EXCHANGE)
    uow = state.new_uow() if exchange is None else exchange.unit_of_work()
    if request.method in CHANGING:
        uow.origin = _origin(request)
    return uow


def _origin(request: Request) -> RequestOrigin | None:
    """Return the origin for the audit log, completed with the route of the request."""
    origin: RequestOrigin | None = request.scope.get(ORIGIN)
    if origin is not None:
        route: APIRoute = request.scope["route"]
        origin.operation = route.name
        origin.route = f"{request.method} {route.path_format}"
        origin.ids = {
            name: text for name, text in request.path_params.items() if _ID.fullmatch(str(text))
        }
    return origin


Uow = Annotated[UnitOfWork, Depends(new_uow)]


async def new_list_uow(state: State) -> UnitOfWork:
    """Make a unit of work for lists; its data may be a few seconds old."""
    return state.new_list_uow()


ListUow = Annotated[UnitOfWork, Depends(new_list_uow)]


CALLER = "crm.caller"
"""The key in the ASGI scope."""
IDENTIFIED_SECONDS = 1.0
"""How long one request uses the result of the look-up again. A body may take minutes to arrive, and
a key that is revoked in that time must be refused."""


@dataclass(frozen=True, kw_only=True)
class Identified:
    """The result of a look-up: the caller or the error, and its time (monotonic seconds)."""

    caller: Caller | None
    error: UnauthenticatedError | None
    at: float


async def identify(scope: AsgiScope) -> Caller:
    """Return the caller. The rate limit and the route share one look-up.

    Raises:
        MissingCredentialsError: No bearer token was sent.
        InvalidCredentialsError: The key is unknown.
        ApiKeyRevokedError: The key was revoked.
        ApiKeyExpiredError: The key has expired.
        SessionOverError: The access token is unknown, too old, or its session has ended.
    """
    known: Identified | None = scope.get(CALLER)
    if known is None or time.monotonic() - known.at > IDENTIFIED_SECONDS:
        known = scope[CALLER] = await look_up(scope)
    if known.caller is None:
        raise known.error or MissingCredentialsError("Send an API key.")
    return known.caller


async def look_up(scope: AsgiScope) -> Identified:
    """Look up the caller now, without the stored result of this request."""
    at = time.monotonic()  # before the statement, so that the result is never older than ``at``
    try:
        return Identified(caller=await _find(scope), error=None, at=at)
    except UnauthenticatedError as error:
        return Identified(caller=None, error=error, at=at)


async def _find(scope: AsgiScope) -> Caller:
    token = bearer_token(scope)
    if token is None:
        raise MissingCredentialsError(
            "Send an API key or an access token as `Authorization: Bearer <it>`."
        )
    now = clock.wall_now()  # credentials expire by real time, not by the sandbox clock
    reads: HotReads = scope["app"].state.hot_reads
    if token.startswith(ACCESS_PREFIX):
        return _user(await sessions.authenticate_access_token(reads, token, now=now))
    key = await authentication.authenticate_api_key(reads, text=token, now=now)
    return Caller(id=str(key.id), name=key.name, scopes=key.scopes)


async def authenticate(request: Request) -> Caller:
    """Return the caller, and record it for the log, the audit log and the key's last use.

    Raises:
        UnauthenticatedError: As listed at ``identify``.
    """
    caller = await identify(request.scope)
    if caller.user is None:
        uses: KeyUsage = request.app.state.key_uses
        uses.note(UUID(caller.id), clock.wall_now())
    handled: Handled | None = request.scope.get(HANDLED)
    if handled is not None:
        handled.caller = caller.id
    exchange: Exchange | None = request.scope.get(EXCHANGE)
    if exchange is not None:
        exchange.caller = caller.id
    origin: RequestOrigin | None = request.scope.get(ORIGIN)
    if origin is not None:
        origin.actor, origin.actor_id = caller.name, caller.id
    return caller


AnyCaller = Annotated[Caller, Depends(authenticate)]
"""Any authenticated caller, with any scopes."""


def _user(user: AuthenticatedUser) -> Caller:
    return Caller(
        id=str(user.id), name=user.email, scopes=frozenset(SCOPES_OF[user.role]), user=user
    )


async def signed_in(caller: AnyCaller) -> Caller:
    """Return the caller if it is a user.

    Raises:
        UserNeededError: The caller is an API key.
    """
    if caller.user is None:
        raise UserNeededError
    return caller


SignedIn = Annotated[Caller, Depends(signed_in)]


class Needs:
    """A dependency that returns the caller if it has this scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, caller: AnyCaller) -> Caller:
        """Return the caller.

        Raises:
            MissingScopeError: The caller does not have the scope.
        """
        if not caller.may(self.scope):
            raise MissingScopeError(
                f"This operation needs the scope {self.scope}. Use a key or a user that has it.",
                required_scope=self.scope.value,
            )
        return caller


def require(scope: Scope) -> Any:  # noqa: ANN401 - FastAPI types its marker so
    """Require a caller with this scope."""
    return Depends(Needs(scope))


async def page_params(
    limit: Annotated[int, Query(ge=1, le=200, description="Items per page.")] = 50,
    cursor: Annotated[
        str | None,
        Query(
            description="The `next_cursor` of the previous page.",
            examples=["WyIyMDI2LTExLTI0VDE2OjIwOjAwWiIsIjAxYTEiXQ"],
        ),
    ] = None,
) -> PageParams:
    """Read the paging parameters that every list takes."""
    return PageParams(limit=limit, cursor=cursor)


Paging = Annotated[PageParams, Depends(page_params)]
IN_STATUS = Query(description="Only items in this status.")

Step = Annotated[
    int,
    Query(ge=0, le=20, description="The step: 0 is the first message, then the follow-ups."),
]
"""The step of a campaign: the first message or a follow-up."""


async def mail_sender(uow: UnitOfWork, state: AppState) -> UserMailSender:
    """Return the sender of mails to users, from the settings."""
    business = await business_of(uow, state)
    return UserMailSender(
        name=business.name or "crm-api",
        api_url=state.settings.public_base_url,
        app_url=state.settings.app_url,
    )


async def business_of(uow: UnitOfWork, state: AppState) -> Business:
    """Return the sending company, from the environment and the company's settings."""
    return await company.read_business(uow, configured=configured_business(state))


def configured_business(state: AppState) -> Business:
    """Return the sending company as far as the environment sets it."""
    return Business(name=state.settings.business_name, contact=state.settings.business_contact)

"""What a route may ask for: a unit of work, who calls, which page, what the app holds.

All of it is `async def`: anything else FastAPI runs in a thread, which takes longer than it does.
"""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request
from fastapi.routing import APIRoute

from crm_api import clock
from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.access import service as access
from crm_api.domain.access.errors import MissingCredentialsError, MissingScopeError, UserNeededError
from crm_api.domain.access.models import Scope
from crm_api.domain.access.uses import KeyUses
from crm_api.domain.accounts import sessions
from crm_api.domain.accounts.letters import Sender
from crm_api.domain.accounts.models import SCOPES_OF
from crm_api.domain.accounts.sessions import KnownUser
from crm_api.domain.accounts.tokens import ACCESS_PREFIX
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.hot_reads import HotReads
from crm_api.origin import Origin
from crm_api.replica import Replica
from crm_api.routers.exchange import CHANGING, EXCHANGE, ORIGIN, Exchange
from crm_api.routers.handled import HANDLED, Handled
from crm_api.settings import Settings

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""What of a path may be told in the audit log: it never forgets, so it gets no free text."""


@dataclass(frozen=True, kw_only=True)
class AppState:
    """What lives as long as the web process."""

    settings: Settings
    new_uow: UnitOfWorkFactory
    secret: bytes = field(repr=False)
    provider: OpenPhoneClient
    rules: RuleBook
    replica: Replica | None = None

    def new_list_uow(self) -> UnitOfWork:
        """Make a unit of work for lists and statistics: of a replica, where there is one."""
        return self.new_uow() if self.replica is None else self.replica.new_uow()


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls, a key or a user, and what they may do.

    Attributes:
        id: Of the key or the user.
        name: As the audit log and the consent history have it.
        user: None for an API key.
    """

    id: str
    name: str
    scopes: frozenset[str]
    user: KnownUser | None = None

    def may(self, scope: Scope) -> bool:
        """True when the caller has the scope, or ``admin``."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def user_id(self) -> UUID:
        """The user's id.

        Raises:
            UserNeededError: An API key calls.
        """
        if self.user is None:
            raise UserNeededError
        return self.user.id


@dataclass(frozen=True, kw_only=True)
class PageParams:
    """Which page of a list."""

    limit: int
    cursor: str | None


async def app_state(request: Request) -> AppState:
    """Return what the application holds."""
    state: AppState = request.app.state.crm
    return state


State = Annotated[AppState, Depends(app_state)]


async def new_uow(request: Request, state: State) -> UnitOfWork:
    """Make a unit of work; the route opens it.

    Where an answer is written with its effect (``preconditions``), it is the request's own.
    """
    exchange: Exchange | None = request.scope.get(EXCHANGE)
    uow = state.new_uow() if exchange is None else exchange.unit_of_work()
    if request.method in CHANGING:
        uow.origin = _origin(request)
    return uow


def _origin(request: Request) -> Origin | None:
    """Return what the audit log tells of the request, now that its route is known."""
    origin: Origin | None = request.scope.get(ORIGIN)
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
    """Make a unit of work that may be a few seconds behind, for what shows many rows."""
    return state.new_list_uow()


ListUow = Annotated[UnitOfWork, Depends(new_list_uow)]


async def authenticate(request: Request) -> Caller:
    """Find out who calls.

    Raises:
        MissingCredentialsError: No bearer token was sent.
        InvalidCredentialsError: It is no key that is known.
        ApiKeyRevokedError: It is a key that was revoked.
        ApiKeyExpiredError: It is a key whose time is over.
        SessionOverError: It is an access token that is good no more.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise MissingCredentialsError(
            "Send an API key or an access token as `Authorization: Bearer <it>`."
        )
    now = clock.wall_now()  # who may come in does not depend on where the sandbox's time is
    reads: HotReads = request.app.state.hot_reads
    if token.startswith(ACCESS_PREFIX):
        caller = _user(await sessions.authenticate(reads, token, now=now))
    else:
        key = await access.authenticate(reads, text=token, now=now)
        uses: KeyUses = request.app.state.key_uses
        uses.note(key.id, now)
        caller = Caller(id=str(key.id), name=key.name, scopes=key.scopes)
    handled: Handled | None = request.scope.get(HANDLED)
    if handled is not None:
        handled.caller = caller.id
    exchange: Exchange | None = request.scope.get(EXCHANGE)
    if exchange is not None:
        exchange.caller = caller.id
    origin: Origin | None = request.scope.get(ORIGIN)
    if origin is not None:
        origin.actor, origin.actor_id = caller.name, caller.id
    return caller


AnyCaller = Annotated[Caller, Depends(authenticate)]
"""Whoever is known, whatever they may do."""


def _user(user: KnownUser) -> Caller:
    return Caller(
        id=str(user.id), name=user.email, scopes=frozenset(SCOPES_OF[user.role]), user=user
    )


async def signed_in(caller: AnyCaller) -> Caller:
    """Ask for a user.

    Raises:
        UserNeededError: An API key calls.
    """
    if caller.user is None:
        raise UserNeededError
    return caller


SignedIn = Annotated[Caller, Depends(signed_in)]


class Needs:
    """A dependency: the caller, if they have this scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, caller: AnyCaller) -> Caller:
        """Return who calls.

        Raises:
            MissingScopeError: They lack the scope.
        """
        if not caller.may(self.scope):
            raise MissingScopeError(
                f"This needs the scope {self.scope}.", required_scope=self.scope.value
            )
        return caller


def require(scope: Scope) -> Any:  # noqa: ANN401 - FastAPI types its marker so
    """Ask for a caller with this scope."""
    return Depends(Needs(scope))


async def page_params(
    limit: Annotated[int, Query(ge=1, le=200, description="Rows a page.")] = 50,
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
) -> PageParams:
    """Read the paging parameters that every list takes."""
    return PageParams(limit=limit, cursor=cursor)


Paging = Annotated[PageParams, Depends(page_params)]

Step = Annotated[int, Query(ge=0, le=20, description="0 is the first text.")]
"""Which text of a campaign: the first, or a follow-up."""


def mail_sender(state: AppState) -> Sender:
    """Return who writes to users, by the settings."""
    return Sender(
        name=state.settings.business_name or "crm-api",
        api_url=state.settings.public_base_url,
        app_url=state.settings.app_url,
    )


def business_of(state: AppState) -> Business:
    """Return who is texting, by the settings."""
    return Business(name=state.settings.business_name, contact=state.settings.business_contact)

"""What a route may ask for: a unit of work, who calls, which page, what the app holds."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.access import service as access
from crm_api.domain.access.errors import MissingCredentialsError, MissingScopeError
from crm_api.domain.access.models import Scope
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.routers.exchange import EXCHANGE, Exchange
from crm_api.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AppState:
    """What lives as long as the web process."""

    settings: Settings
    new_uow: UnitOfWorkFactory
    secret: bytes = field(repr=False)
    provider: OpenPhoneClient
    rules: RuleBook


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls: the name of the key and what it may do."""

    name: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """True when the key has the scope, or ``admin``."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, kw_only=True)
class PageParams:
    """Which page of a list."""

    limit: int
    cursor: str | None


def app_state(request: Request) -> AppState:
    """Return what the application holds."""
    state: AppState = request.app.state.crm
    return state


State = Annotated[AppState, Depends(app_state)]


def new_uow(request: Request, state: State) -> UnitOfWork:
    """Make a unit of work; the route opens it.

    Where an answer is written with its effect (``preconditions``), it is the request's own.
    """
    exchange: Exchange | None = request.scope.get(EXCHANGE)
    return state.new_uow() if exchange is None else exchange.unit_of_work()


Uow = Annotated[UnitOfWork, Depends(new_uow)]


async def authenticate(request: Request, state: State) -> Caller:
    """Find out who calls.

    Raises:
        MissingCredentialsError: No bearer token was sent.
        InvalidCredentialsError: It is not known.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingCredentialsError("Send an API key as `Authorization: Bearer <key>`.")
    async with state.new_uow() as uow:
        key = await access.authenticate(uow, text=token.strip())
    exchange: Exchange | None = request.scope.get(EXCHANGE)
    if exchange is not None:
        exchange.caller = str(key.id)
    return Caller(name=key.name, scopes=frozenset(key.scopes))


def require(scope: Scope) -> Any:  # noqa: ANN401 - FastAPI types its marker so
    """Ask for a caller with this scope.

    The dependency raises MissingScopeError when the key lacks it.
    """

    async def check(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
        if not caller.may(scope):
            raise MissingScopeError(f"This needs the scope {scope}.", required_scope=scope.value)
        return caller

    return Depends(check)


def page_params(
    limit: Annotated[int, Query(ge=1, le=200, description="Rows a page.")] = 50,
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
) -> PageParams:
    """Read the paging parameters that every list takes."""
    return PageParams(limit=limit, cursor=cursor)


Paging = Annotated[PageParams, Depends(page_params)]

Step = Annotated[int, Query(ge=0, le=20, description="0 is the first text.")]
"""Which text of a campaign: the first, or a follow-up."""


def business_of(state: AppState) -> Business:
    """Return who is texting, by the settings."""
    return Business(name=state.settings.business_name, contact=state.settings.business_contact)

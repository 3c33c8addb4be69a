"""FastAPI dependencies of the routes: unit of work, caller, page of a list, application state.

All of them are ``async def``. FastAPI would run a plain ``def`` in a thread, and switching to the
thread would take longer than the function itself.
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
from crm_api.domain.identity.users.models import MASKED, SCOPES_OF, UserRole
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
from crm_api.routers.http.request_outcome import OUTCOME, RequestOutcome

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""Pattern of an id. The audit log stores only path parameters that match this pattern. Other
parameters may contain personal data, and entries of the audit log cannot be deleted one by one."""


@dataclass(frozen=True, kw_only=True)
class AppState:
    """Objects that exist from the start to the end of the web process.

    Attributes:
        new_uow: Returns a new unit of work on the primary database.
        secret: The root secret of the service.
        rules: The legal rules that apply.
        replica: The replica for lists and statistics; None without a replica.
    """

    settings: Settings
    new_uow: UnitOfWorkFactory
    secret: bytes = field(repr=False)
    provider: OpenPhoneClient
    rules: RuleBook
    replica: Replica | None = None
    passwords: PasswordHasher = field(default_factory=PasswordHasher)

    def new_list_uow(self) -> UnitOfWork:
        """Return a unit of work for lists and statistics; it uses the replica if there is one."""
        return self.new_uow() if self.replica is None else self.replica.new_uow()


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The authenticated caller of a request: an API key or a user.

    Attributes:
        name: The name of the API key, or the e-mail address of the user; stored in the audit log
            and the consent history.
        scopes: The scopes of the API key, or those of the user's role.
        user: The user; None if the caller is an API key.
    """

    id: str
    name: str
    scopes: frozenset[str]
    user: AuthenticatedUser | None = None

    def may(self, scope: Scope) -> bool:
        """Return True if the caller has the scope, or the scope ``admin``."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def sees_all(self) -> bool:
        """False for a user with the role marketer, True for all other callers.

        A marketer sees no amounts of money, and only some fields of people, such as the first name
        and the city.
        """
        return self.user is None or self.user.role != UserRole.MARKETER

    @property
    def user_id(self) -> UUID:
        """The id of the user who sent the request.

        Raises:
            UserNeededError: The caller is an API key, not a user.
        """
        if self.user is None:
            raise UserNeededError
        return self.user.id


@dataclass(frozen=True, kw_only=True)
class PageParams:
    """The page of a list that the caller requests.

    Attributes:
        limit: The largest number of items on the page.
        cursor: The ``next_cursor`` of the previous page; None for the first page.
    """

    limit: int
    cursor: str | None


async def app_state(request: Request) -> AppState:
    """Return the objects that exist from the start to the end of the web process."""
    state: AppState = request.app.state.crm
    return state


State = Annotated[AppState, Depends(app_state)]


async def new_uow(request: Request, state: State) -> UnitOfWork:
    """Return the unit of work of a request; the route opens it.

    If the request changes data, this unit of work commits only when the response is complete.
    Therefore the same transaction can also store the response (see ``exchange.Exchange``).
    """
    exchange: Exchange | None = request.scope.get(EXCHANGE)
    uow = state.new_uow() if exchange is None else exchange.unit_of_work()
    if request.method in CHANGING:
        uow.origin = _origin(request)
    return uow


def _origin(request: Request) -> RequestOrigin | None:
    """Add the route and the ids in the path to the origin of a request, and return the origin.

    The origin says who sent the request, and from which address. The audit log stores the origin
    with each change. Return None for a request that only reads data.
    """
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
    """Return a unit of work for lists and statistics.

    If the unit of work uses a replica, the data may be some seconds old.
    """
    return state.new_list_uow()


ListUow = Annotated[UnitOfWork, Depends(new_list_uow)]


CALLER = "crm.caller"
"""Key in the ASGI scope under which the result of the look-up of the caller is stored."""
IDENTIFIED_SECONDS = 1.0
"""How many seconds the result of the look-up of the caller may be used. After this time, the caller
is looked up again. The reason: the body of a request can take minutes to arrive. A key that is
revoked in this time must be refused."""


@dataclass(frozen=True, kw_only=True)
class Identified:
    """The result of looking up the caller of a request.

    Attributes:
        caller: The caller; None if the credentials were refused.
        error: The reason of the refusal; None if there is a caller.
        at: When the look-up began, in seconds of the monotonic clock.
    """

    caller: Caller | None
    error: UnauthenticatedError | None
    at: float


async def identify(scope: AsgiScope) -> Caller:
    """Return the caller of a request, from its API key or access token.

    The result is stored in the scope. Calls for the same request return the stored result for
    ``IDENTIFIED_SECONDS``; then the caller is looked up again.

    Raises:
        MissingCredentialsError: The request has no bearer token.
        InvalidCredentialsError: The API key does not exist.
        ApiKeyRevokedError: The API key was revoked.
        ApiKeyExpiredError: The API key has expired.
        SessionOverError: The access token does not exist or has expired, or its session has ended.
    """
    known: Identified | None = scope.get(CALLER)
    if known is None or time.monotonic() - known.at > IDENTIFIED_SECONDS:
        known = scope[CALLER] = await look_up(scope)
    if known.caller is None:
        raise known.error or MissingCredentialsError(
            "The request has no credentials. Send an API key or an access token."
        )
    return known.caller


async def look_up(scope: AsgiScope) -> Identified:
    """Look up the caller in the database, even if an earlier result for this request is known."""
    # The time is taken before the SQL statement runs, so that the result is never older than
    # ``at``.
    at = time.monotonic()
    try:
        return Identified(caller=await _find(scope), error=None, at=at)
    except UnauthenticatedError as error:
        return Identified(caller=None, error=error, at=at)


async def _find(scope: AsgiScope) -> Caller:
    token = bearer_token(scope)
    if token is None:
        raise MissingCredentialsError(
            "The request has no credentials. Send an API key or an access token in the header "
            "`Authorization: Bearer <key or token>`."
        )
    # API keys and access tokens expire by real time, not by the time of the sandbox clock.
    now = clock.wall_now()
    reads: HotReads = scope["app"].state.hot_reads
    if token.startswith(ACCESS_PREFIX):
        return _user(await sessions.authenticate_access_token(reads, token, now=now))
    key = await authentication.authenticate_api_key(reads, text=token, now=now)
    return Caller(id=str(key.id), name=key.name, scopes=key.scopes)


async def authenticate(request: Request) -> Caller:
    """Return the caller of a request, and record the caller.

    The caller is stored in the log line and in the audit log. If the request has an
    ``Idempotency-Key``, the caller is also stored with the response. If the caller is an API key,
    the time of this use is recorded too.

    Raises:
        UnauthenticatedError: An error of the function ``identify()``.
    """
    caller = await identify(request.scope)
    if caller.user is None:
        uses: KeyUsage = request.app.state.key_uses
        uses.note(UUID(caller.id), clock.wall_now())
    outcome: RequestOutcome | None = request.scope.get(OUTCOME)
    if outcome is not None:
        outcome.caller = caller.id
    exchange: Exchange | None = request.scope.get(EXCHANGE)
    if exchange is not None:
        exchange.caller = caller.id
    origin: RequestOrigin | None = request.scope.get(ORIGIN)
    if origin is not None:
        origin.actor, origin.actor_id = caller.name, caller.id
    return caller


AnyCaller = Annotated[Caller, Depends(authenticate)]
"""FastAPI dependency for an authenticated caller, with any scopes."""


def _user(user: AuthenticatedUser) -> Caller:
    return Caller(
        id=str(user.id), name=user.email, scopes=frozenset(SCOPES_OF[user.role]), user=user
    )


async def signed_in(caller: AnyCaller) -> Caller:
    """Return the caller, which must be a user.

    Raises:
        UserNeededError: The caller is an API key, not a user.
    """
    if caller.user is None:
        raise UserNeededError
    return caller


SignedIn = Annotated[Caller, Depends(signed_in)]


LISTS_OF_PEOPLE = frozenset({"contacts", "recipients"})
HIDDEN_FILTERS = frozenset({"q", "phone", "state", "timezone", "has_email"})
"""Query parameters that a user with the role marketer must not use in lists of people.

These parameters search in fields that the role must not see.
"""


class Needs:
    """FastAPI dependency that returns the caller and requires that the caller has a scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, caller: AnyCaller, request: Request) -> Caller:
        """Return the caller if the caller may send this request.

        The caller needs the scope of this object, or the scope ``admin``. A marketer may also call
        the operations in ``MASKED``. But a marketer may not search in fields that are hidden from
        marketers.

        Raises:
            MissingScopeError: The caller may not send this request.
        """
        return self.check(caller) if caller.sees_all else self._marketer(caller, request)

    def check(self, caller: Caller) -> Caller:
        """Return the caller if the caller has the scope, or the scope ``admin``.

        Raises:
            MissingScopeError: The caller has neither of the two scopes.
        """
        if not caller.may(self.scope):
            raise MissingScopeError(
                f"This operation needs the scope {self.scope}, which the caller does not have. Use "
                "an API key or a user with this scope.",
                required_scope=self.scope.value,
            )
        return caller

    def _marketer(self, caller: Caller, request: Request) -> Caller:
        """Return the caller if the role marketer allows this request.

        Raises:
            MissingScopeError: The role does not allow the operation, or the request searches in
                fields that the role does not show.
        """
        route: str = request.scope["route"].path
        may = caller.may(self.scope) or f"{request.method} {route}" in MASKED
        searched = HIDDEN_FILTERS & set(request.query_params)
        if may and not (searched and route.rpartition("/")[2] in LISTS_OF_PEOPLE):
            return caller
        why = (
            f"The parameter `{min(searched)}` searches in fields that your role does not show. "
            "Leave out this parameter."
            if may
            else f"This operation needs the scope {self.scope}, which your role does not have. Ask "
            "an owner for another role."
        )
        raise MissingScopeError(why, required_scope=self.scope.value)


def require(scope: Scope) -> Any:  # noqa: ANN401 - FastAPI types its marker so
    """Return a FastAPI dependency that requires a caller with the scope ``scope``."""
    return Depends(Needs(scope))


async def page_params(
    limit: Annotated[
        int, Query(ge=1, le=200, description="The largest number of items on a page.")
    ] = 50,
    cursor: Annotated[
        str | None,
        Query(
            description="The value of `next_cursor` in the previous page. Leave it out to get the "
            "first page.",
            examples=["WyIyMDI2LTExLTI0VDE2OjIwOjAwWiIsIjAxYTEiXQ"],
        ),
    ] = None,
) -> PageParams:
    """Return the values of the query parameters ``limit`` and ``cursor``."""
    return PageParams(limit=limit, cursor=cursor)


Paging = Annotated[PageParams, Depends(page_params)]
IN_STATUS = Query(description="Return only items with this status.")

Step = Annotated[
    int,
    Query(
        ge=0,
        le=20,
        description="The step of the campaign: 0 is the first message, 1 the first follow-up, and "
        "so on.",
    ),
]
"""Query parameter for a step of a campaign: 0 is the first message, 1 is the first follow-up."""


async def mail_sender(uow: UnitOfWork, state: AppState) -> UserMailSender:
    """Return the company's name and the URLs that are used in e-mails to users."""
    business = await business_of(uow, state)
    return UserMailSender(
        name=business.name or "crm-api",
        api_url=state.settings.public_base_url,
        app_url=state.settings.app_url,
    )


async def business_of(uow: UnitOfWork, state: AppState) -> Business:
    """Return the name and the contact details of the company that sends the messages.

    Each value comes from its environment variable. If the variable is not set, the value comes from
    the company's settings in the database.
    """
    return await company.read_business(uow, configured=configured_business(state))


def configured_business(state: AppState) -> Business:
    """Return the company's name and contact details from environment variables.

    A value is None if its variable is not set.
    """
    return Business(name=state.settings.business_name, contact=state.settings.business_contact)

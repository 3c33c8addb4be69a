"""Describe how each operation authenticates its caller and which scope the caller needs.

The descriptions are added to the OpenAPI document.
"""

from collections.abc import Iterable

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.routers.http.credentials import REFRESH_COOKIE
from crm_api.routers.http.deps import Needs, authenticate
from crm_api.routers.http.openapi.naming import Node

BEARER, OAUTH, COOKIE = "bearer", "oauth2", "refreshCookie"
SCOPES = {
    Scope.CONTACTS_READ: "Read contacts, lists, segments and imports.",
    Scope.CONTACTS_WRITE: "Change contacts, lists and segments, and import contacts.",
    Scope.CAMPAIGNS_READ: "Read campaigns, lines and templates.",
    Scope.CAMPAIGNS_WRITE: "Create and change campaigns, lines and templates.",
    Scope.CAMPAIGNS_SEND: "Start, pause, resume and cancel campaigns.",
    Scope.MESSAGES_READ: "Read conversations, messages and calls.",
    Scope.MESSAGES_SEND: "Send single messages.",
    Scope.SALES_READ: "Read appointments, quotes, invoices and calendars.",
    Scope.SALES_WRITE: "Change appointments, quotes, invoices and calendars.",
    Scope.INSIGHT_READ: "Read outcomes, attribution, measures, costs and holdouts.",
    Scope.INSIGHT_WRITE: "Record and reverse outcomes, and change rules, costs and holdouts.",
    Scope.WEBHOOKS_READ: "Read received events and webhook endpoints.",
    Scope.WEBHOOKS_WRITE: "Process received events again, and change webhook endpoints.",
    Scope.OPERATIONS: "Read and handle alerts, reconciliation runs, health checks and jobs.",
    Scope.ADMIN: "Do everything, also manage API keys and users.",
}
BY_LINK = {"open_media": Scope.MESSAGES_READ}
"""Operations that accept a signed link instead of credentials, by operation id.

The value is the scope that a request needs if it has credentials instead of a signed link.
"""
BY_COOKIE = frozenset({"refresh", "sign_out"})
"""Operations that authenticate by the refresh token in the request body or in the cookie."""


def security_schemes() -> Node:
    """Return the security schemes of the document: bearer token, OAuth 2 password, cookie."""
    scopes = " ".join(f"`{scope}` {text}" for scope, text in SCOPES.items())
    return {
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "description": f"An API key (`crm_…`) or an access token (`crms_…`). Scopes: {scopes}",
        },
        OAUTH: {
            "type": "oauth2",
            "description": "A user signs in with e-mail address and password to get a token.",
            "flows": {
                "password": {
                    "tokenUrl": "/v1/auth/token",
                    "refreshUrl": "/v1/auth/token",
                    "scopes": {scope.value: text for scope, text in SCOPES.items()},
                }
            },
        },
        COOKIE: {
            "type": "apiKey",
            "in": "cookie",
            "name": REFRESH_COOKIE,
            "description": "The refresh token of a user who signed in with `?cookie=true`. "
            "Scripts cannot read this cookie. The request must also contain the value of the "
            "cookie `crm_csrf` in the header `X-CSRF-Token`.",
        },
    }


def security_of(route: APIRoute) -> list[Node]:
    """Return the security requirements of a route; an empty list if the route is public.

    A caller must meet at least one of the requirements.
    """
    if route.name in BY_COOKIE:
        return [{COOKIE: []}, {}]
    scope = BY_LINK.get(route.name) or scope_of(route)
    scopes = [scope.value] if scope is not None else []
    known: list[Node] = [{BEARER: scopes}, {OAUTH: scopes}]
    if route.name in BY_LINK:
        return [{}, *known]
    return [] if is_open(route) else known


def scope_of(route: APIRoute) -> Scope | None:
    """Return the scope that the caller of a route needs; None if the caller needs no scope."""
    return next((call.scope for call in calls(route.dependant) if isinstance(call, Needs)), None)


def is_open(route: APIRoute) -> bool:
    """Return True if a route is public: it has no dependency that authenticates the caller."""
    return not any(call is authenticate for call in calls(route.dependant))


def calls(dependant: Dependant) -> Iterable[object]:
    """Yield the callables that FastAPI runs for a route: the route and all its dependencies."""
    yield dependant.call
    for inner in dependant.dependencies:
        yield from calls(inner)

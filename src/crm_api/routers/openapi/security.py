"""Who may call what."""

from collections.abc import Iterable

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from crm_api.domain.access.models import Scope
from crm_api.routers.auth import REFRESH_COOKIE
from crm_api.routers.deps import Needs, authenticate
from crm_api.routers.openapi.walking import Node

BEARER, OAUTH, COOKIE = "bearer", "oauth2", "refreshCookie"
SCOPES = {
    Scope.CONTACTS_READ: "Read contacts, lists, segments and imports.",
    Scope.CONTACTS_WRITE: "Change contacts, lists, segments; import.",
    Scope.CAMPAIGNS_READ: "Read campaigns, lines and templates.",
    Scope.CAMPAIGNS_WRITE: "Write campaigns and templates.",
    Scope.CAMPAIGNS_SEND: "Start, pause, resume and cancel campaigns.",
    Scope.MESSAGES_READ: "Read conversations, messages and calls.",
    Scope.MESSAGES_SEND: "Send single messages.",
    Scope.WEBHOOKS_READ: "Read received events and endpoints.",
    Scope.WEBHOOKS_WRITE: "Replay events, change endpoints.",
    Scope.OPERATIONS: "Alerts, runs, checks and jobs.",
    Scope.ADMIN: "Everything, with keys and users.",
}
BY_LINK = {"open_media": Scope.MESSAGES_READ}
"""A link alone opens them, and so does the scope."""
BY_COOKIE = frozenset({"refresh", "sign_out"})
"""They know their session by the refresh token: in the body, or in the cookie."""


def security_schemes() -> Node:
    """Return the ways to say who calls."""
    scopes = " ".join(f"`{scope}` {text}" for scope, text in SCOPES.items())
    return {
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "description": f"An API key (`crm_…`) or an access token (`crms_…`). Scopes: {scopes}",
        },
        OAUTH: {
            "type": "oauth2",
            "description": "Users sign in with e-mail address and password.",
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
            "description": "The refresh token, where a sign-in asked for it with `?cookie=true`. "
            "Scripts cannot read it; the request carries the value of the cookie `crm_csrf` in "
            "the header `X-CSRF-Token`.",
        },
    }


def security_of(route: APIRoute) -> list[Node]:
    """Return who may call a route."""
    if route.name in BY_COOKIE:
        return [{COOKIE: []}, {}]
    scope = BY_LINK.get(route.name) or scope_of(route)
    scopes = [scope.value] if scope is not None else []
    known: list[Node] = [{BEARER: scopes}, {OAUTH: scopes}]
    if route.name in BY_LINK:
        return [{}, *known]
    return [] if is_open(route) else known


def scope_of(route: APIRoute) -> Scope | None:
    """Return the scope that a route asks for; None when it asks for none."""
    return next((call.scope for call in calls(route.dependant) if isinstance(call, Needs)), None)


def is_open(route: APIRoute) -> bool:
    """Say whether a route asks nobody who they are."""
    return not any(call is authenticate for call in calls(route.dependant))


def calls(dependant: Dependant) -> Iterable[object]:
    """Yield what FastAPI calls for a route: the route itself, and all that it depends on."""
    yield dependant.call
    for inner in dependant.dependencies:
        yield from calls(inner)

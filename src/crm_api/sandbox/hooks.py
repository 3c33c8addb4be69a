"""The sandbox's webhooks as the provider shows them, in both of its systems.

Each system lists only its own; dated ones can be changed and rotated.
"""

import os
from base64 import b64encode
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from crm_api.sandbox import samples, shapes
from crm_api.sandbox.config import SigningScheme
from crm_api.sandbox.requesting import (
    BadRequestError,
    json_answer,
    not_found,
    read_json,
)
from crm_api.sandbox.webhooks import Hook
from crm_api.sandbox.world import World

HOOK_EVENTS = {
    "messages": frozenset({"message.received", "message.delivered"}),
    "calls": frozenset({"call.ringing", "call.completed", "call.recording.completed"}),
    "call-summaries": frozenset({"call.summary.completed"}),
    "call-transcripts": frozenset({"call.transcript.completed"}),
}
LEGACY_EVENTS = frozenset().union(*HOOK_EVENTS.values())
STATUSES = frozenset({"enabled", "disabled"})
MOST_HOOKS = 50
_CHANGEABLE = frozenset({"url", "events", "resourceIds", "status", "label"})

Handler = Callable[[World, Request], Awaitable[Response]]


def listed() -> list[tuple[str, str, Handler]]:
    """Return the paths of both systems."""
    return [
        ("/v1/webhooks", "GET", list_legacy),
        ("/v1/webhooks/{id}", "GET", get_legacy),
        ("/v1/webhooks/{id}", "DELETE", delete_legacy),
        ("/v1/webhooks/{family}", "POST", create_legacy),
        ("/webhooks", "GET", list_dated),
        ("/webhooks", "POST", create_dated),
        ("/webhooks/{id}", "GET", get_dated),
        ("/webhooks/{id}", "PATCH", change_dated),
        ("/webhooks/{id}", "DELETE", delete_dated),
        ("/webhooks/{id}/rotate", "POST", rotate),
    ]


async def list_legacy(world: World, request: Request) -> Response:  # noqa: ARG001
    """List the legacy hooks, with their keys."""
    hooks = [hook for hook in world.deliverer.hooks.values() if is_legacy(hook)]
    return json_answer({"data": [_legacy(hook) for hook in hooks]})


async def get_legacy(world: World, request: Request) -> Response:
    """Read one legacy hook."""
    hook = _find(world, request, is_legacy)
    return missing() if hook is None else json_answer({"data": _legacy(hook)})


async def delete_legacy(world: World, request: Request) -> Response:
    """Remove a legacy hook; what is under way to it still goes out."""
    return _delete(world, _find(world, request, is_legacy))


async def create_legacy(world: World, request: Request) -> Response:
    """Add a hook of the legacy scheme for one family of events."""
    known = HOOK_EVENTS.get(request.path_params["family"])
    if known is None:
        return missing()
    body = await read_json(request)
    hook = _new_hook(world, body, SigningScheme.LEGACY, known, hook_id="WH" + uuid4().hex[:10])
    return json_answer({"data": _legacy(hook)}, HTTPStatus.CREATED)


async def list_dated(world: World, request: Request) -> Response:  # noqa: ARG001
    """List the hooks of 2026-03-30, all at once and without their keys."""
    hooks = [hook for hook in world.deliverer.hooks.values() if hook.is_dated]
    return json_answer({"data": [_dated(hook) for hook in hooks]})


async def create_dated(world: World, request: Request) -> Response:
    """Add a hook of the 2026-03-30 scheme; its key is shown this once."""
    if sum(hook.is_dated for hook in world.deliverer.hooks.values()) >= MOST_HOOKS:
        raise BadRequestError(f"a workspace may have {MOST_HOOKS} webhooks")
    world.hooks_made += 1
    body = await read_json(request)
    hook_id = str(world.hooks_made)
    hook = _new_hook(world, body, SigningScheme.STANDARD, samples.EVENT_TYPES, hook_id=hook_id)
    return json_answer({"data": {**_dated(hook), "key": hook.key}}, HTTPStatus.CREATED)


async def get_dated(world: World, request: Request) -> Response:
    """Read one hook, without its key."""
    hook = find_dated(world, request)
    return missing() if hook is None else json_answer({"data": _dated(hook)})


async def change_dated(world: World, request: Request) -> Response:
    """Change what is named; ``events`` and ``resourceIds`` replace."""
    hook = find_dated(world, request)
    if hook is None:
        return missing()
    body = await read_json(request)
    if not body or body.keys() - _CHANGEABLE:
        raise BadRequestError("name one or more of url, events, resourceIds, status, label")
    if "url" in body:
        hook.url = _url(body["url"])
    if "events" in body:
        hook.events = _events(body["events"], samples.EVENT_TYPES)
    if "resourceIds" in body:
        hook.resource_ids = _resources(body["resourceIds"])
    if "status" in body:
        hook.status = _status(body["status"])
    hook.label = body.get("label", hook.label)
    hook.updated_at = world.config.clock()
    return json_answer({"data": _dated(hook)})


async def delete_dated(world: World, request: Request) -> Response:
    """Remove a hook; what is under way to it still goes out."""
    return _delete(world, find_dated(world, request))


async def rotate(world: World, request: Request) -> Response:
    """Make a new key, with which everything is signed from now on, also retries."""
    hook = find_dated(world, request)
    if hook is None:
        return missing()
    hook.key = _new_key(SigningScheme.STANDARD)
    return json_answer({"data": {"key": hook.key}})


def is_legacy(hook: Hook) -> bool:
    """Say whether ``/v1/webhooks`` shows it; one that alternates is in both."""
    return hook.scheme is not SigningScheme.STANDARD


def _is_dated(hook: Hook) -> bool:
    return hook.is_dated


def find_dated(world: World, request: Request) -> Hook | None:
    """Find the hook of 2026-03-30 that a path names."""
    return _find(world, request, _is_dated)


def _find(world: World, request: Request, belongs: Callable[[Hook], bool]) -> Hook | None:
    hook = world.deliverer.hooks.get(request.path_params["id"])
    return hook if hook is not None and belongs(hook) else None


def _delete(world: World, hook: Hook | None) -> Response:
    if hook is None:
        return missing()
    del world.deliverer.hooks[hook.id]
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _new_hook(
    world: World,
    body: dict[str, Any],
    scheme: SigningScheme,
    known: frozenset[str],
    *,
    hook_id: str,
) -> Hook:
    hook = Hook(
        id=hook_id,
        url=_url(body.get("url")),
        key=_new_key(scheme) if world.config.own_keys else _shared_key(world, scheme),
        scheme=scheme,
        events=_events(body.get("events"), known),
        resource_ids=_resources(body.get("resourceIds")),
        label=body.get("label"),
        status=_status(body.get("status", "enabled")),
        created_at=world.config.clock(),
    )
    world.deliverer.hooks[hook.id] = hook
    return hook


def _new_key(scheme: SigningScheme) -> str:
    prefix = "whsec_" if scheme is SigningScheme.STANDARD else ""
    return prefix + b64encode(os.urandom(24)).decode()


def _shared_key(world: World, scheme: SigningScheme) -> str:
    """Return the one key of the sandbox, so that a receiver set up for it can verify."""
    prefix = "whsec_" if scheme is SigningScheme.STANDARD else ""
    return prefix + world.config.signing_key.removeprefix("whsec_")


def _url(value: object) -> str:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise BadRequestError("url is required")
    return value


def _events(value: object, known: frozenset[str]) -> frozenset[str]:
    if not isinstance(value, list) or not value or not known.issuperset(value):
        raise BadRequestError("events are required, of this family")
    return frozenset(value)


def _resources(value: object) -> frozenset[str] | None:
    if not value or value == ["*"]:
        return None
    if not isinstance(value, list):
        raise BadRequestError("resourceIds is a list of phone number ids, or [*]")
    return frozenset(map(str, value))


def _status(value: object) -> str:
    if value not in STATUSES:
        raise BadRequestError("status is enabled or disabled")
    return str(value)


def _legacy(hook: Hook) -> dict[str, Any]:
    return {
        "id": hook.id,
        "userId": shapes.OWNER,
        "orgId": shapes.ORGANISATION,
        "label": hook.label,
        "status": hook.status,
        "url": hook.url,
        "key": hook.key,
        "createdAt": shapes.stamp(hook.created_at),
        "updatedAt": shapes.stamp(hook.created_at),
        "deletedAt": None,
        "events": sorted(hook.events or LEGACY_EVENTS),
        "resourceIds": sorted(hook.resource_ids or {"*"}),
    }


def _dated(hook: Hook) -> dict[str, Any]:
    return {
        "id": hook.id,
        "orgId": shapes.ORGANISATION,
        "label": hook.label,
        "status": hook.status,
        "url": hook.url,
        "apiVersion": SigningScheme.STANDARD.value,
        "events": sorted(hook.events or samples.EVENT_TYPES),
        "resourceIds": sorted(hook.resource_ids or {"*"}),
        "createdAt": shapes.stamp(hook.created_at),
        "updatedAt": shapes.stamp(hook.updated_at or hook.created_at),
    }


def missing() -> Response:
    """Answer that there is no such webhook."""
    return not_found("0300404")

"""Simulate the provider's endpoints that manage webhooks.

The provider has a legacy API and API version 2026-03-30. Each API lists only the webhooks of its
own format. But a webhook with the scheme ``SigningScheme.ALTERNATING`` is in both lists. Only API
version 2026-03-30 can change a webhook and replace its signing key.
"""

import os
from base64 import b64encode
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from crm_api.dev.sandbox.config import SigningScheme
from crm_api.dev.sandbox.sample_events import EVENT_TYPES
from crm_api.dev.sandbox.webhook_sender import Hook
from crm_api.dev.sandbox.wire_format import (
    ORGANISATION,
    OWNER,
    BadRequestError,
    json_answer,
    not_found,
    read_json,
    stamp,
)
from crm_api.dev.sandbox.workspace import Workspace

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


async def list_legacy(workspace: Workspace, request: Request) -> Response:  # noqa: ARG001
    """List the webhooks of the provider's legacy (older) API, with their signing keys."""
    hooks = [hook for hook in workspace.deliverer.hooks.values() if is_legacy(hook)]
    return json_answer({"data": [_legacy(hook) for hook in hooks]})


async def get_legacy(workspace: Workspace, request: Request) -> Response:
    """Return one webhook of the provider's legacy (older) API."""
    hook = _find(workspace, request, is_legacy)
    return webhook_not_found() if hook is None else json_answer({"data": _legacy(hook)})


async def delete_legacy(workspace: Workspace, request: Request) -> Response:
    """Delete a webhook of the legacy (older) API. Deliveries that have begun continue."""
    return _delete(workspace, _find(workspace, request, is_legacy))


async def create_legacy(workspace: Workspace, request: Request) -> Response:
    """Create a webhook of the legacy (older) API for a group of event types, such as ``calls``."""
    known = HOOK_EVENTS.get(request.path_params["family"])
    if known is None:
        return webhook_not_found()
    body = await read_json(request)
    hook = _new_hook(workspace, body, SigningScheme.LEGACY, known, hook_id="WH" + uuid4().hex[:10])
    return json_answer({"data": _legacy(hook)}, HTTPStatus.CREATED)


async def list_dated(workspace: Workspace, request: Request) -> Response:  # noqa: ARG001
    """List the webhooks of API version 2026-03-30 on one page, without their signing keys."""
    hooks = [hook for hook in workspace.deliverer.hooks.values() if hook.is_dated]
    return json_answer({"data": [_dated(hook) for hook in hooks]})


async def create_dated(workspace: Workspace, request: Request) -> Response:
    """Create a webhook of API version 2026-03-30; the response contains its signing key."""
    if sum(hook.is_dated for hook in workspace.deliverer.hooks.values()) >= MOST_HOOKS:
        raise BadRequestError(f"a workspace may have at most {MOST_HOOKS} webhooks; delete one")
    workspace.hooks_made += 1
    body = await read_json(request)
    hook_id = str(workspace.hooks_made)
    hook = _new_hook(workspace, body, SigningScheme.STANDARD, EVENT_TYPES, hook_id=hook_id)
    return json_answer({"data": {**_dated(hook), "key": hook.key}}, HTTPStatus.CREATED)


async def get_dated(workspace: Workspace, request: Request) -> Response:
    """Return one webhook of API version 2026-03-30, without its signing key."""
    hook = find_dated(workspace, request)
    return webhook_not_found() if hook is None else json_answer({"data": _dated(hook)})


async def change_dated(workspace: Workspace, request: Request) -> Response:
    """Set the fields that the request body contains; other fields of the webhook do not change.

    A list in the body, such as ``events``, replaces the whole list that the webhook had before.
    """
    hook = find_dated(workspace, request)
    if hook is None:
        return webhook_not_found()
    body = await read_json(request)
    if not body or body.keys() - _CHANGEABLE:
        raise BadRequestError(
            "the body must contain one or more of `url`, `events`, `resourceIds`, `status` and "
            "`label`, and nothing else"
        )
    if "url" in body:
        hook.url = _url(body["url"])
    if "events" in body:
        hook.events = _events(body["events"], EVENT_TYPES)
    if "resourceIds" in body:
        hook.resource_ids = _resources(body["resourceIds"])
    if "status" in body:
        hook.status = _status(body["status"])
    hook.label = body.get("label", hook.label)
    hook.updated_at = workspace.config.clock()
    return json_answer({"data": _dated(hook)})


async def delete_dated(workspace: Workspace, request: Request) -> Response:
    """Delete a webhook of API version 2026-03-30. Deliveries that have begun continue."""
    return _delete(workspace, find_dated(workspace, request))


async def rotate(workspace: Workspace, request: Request) -> Response:
    """Replace the signing key of a webhook. The new key signs all later deliveries and retries."""
    hook = find_dated(workspace, request)
    if hook is None:
        return webhook_not_found()
    hook.key = _new_key(SigningScheme.STANDARD)
    return json_answer({"data": {"key": hook.key}})


def is_legacy(hook: Hook) -> bool:
    """Return True if the legacy API of the provider lists the webhook.

    A webhook with the scheme ``SigningScheme.ALTERNATING`` is listed by the legacy API and by API
    version 2026-03-30.
    """
    return hook.scheme is not SigningScheme.STANDARD


def _is_dated(hook: Hook) -> bool:
    return hook.is_dated


def find_dated(workspace: Workspace, request: Request) -> Hook | None:
    """Return the webhook of API version 2026-03-30 whose id is in the path; None if unknown."""
    return _find(workspace, request, _is_dated)


def _find(workspace: Workspace, request: Request, belongs: Callable[[Hook], bool]) -> Hook | None:
    hook = workspace.deliverer.hooks.get(request.path_params["id"])
    return hook if hook is not None and belongs(hook) else None


def _delete(workspace: Workspace, hook: Hook | None) -> Response:
    if hook is None:
        return webhook_not_found()
    del workspace.deliverer.hooks[hook.id]
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _new_hook(
    workspace: Workspace,
    body: dict[str, Any],
    scheme: SigningScheme,
    known: frozenset[str],
    *,
    hook_id: str,
) -> Hook:
    hook = Hook(
        id=hook_id,
        url=_url(body.get("url")),
        key=_new_key(scheme) if workspace.config.own_keys else _shared_key(workspace, scheme),
        scheme=scheme,
        events=_events(body.get("events"), known),
        resource_ids=_resources(body.get("resourceIds")),
        label=body.get("label"),
        status=_status(body.get("status", "enabled")),
        created_at=workspace.config.clock(),
    )
    workspace.deliverer.hooks[hook.id] = hook
    return hook


def _new_key(scheme: SigningScheme) -> str:
    prefix = "whsec_" if scheme is SigningScheme.STANDARD else ""
    return prefix + b64encode(os.urandom(24)).decode()


def _shared_key(workspace: Workspace, scheme: SigningScheme) -> str:
    """Return the signing key of the sandbox's configuration, with or without a prefix.

    With the scheme ``SigningScheme.STANDARD``, the key gets the prefix ``whsec_``. With other
    schemes, the key has no prefix.
    """
    prefix = "whsec_" if scheme is SigningScheme.STANDARD else ""
    return prefix + workspace.config.signing_key.removeprefix("whsec_")


def _url(value: object) -> str:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise BadRequestError("`url` is required and must begin with http:// or https://")
    return value


def _events(value: object, known: frozenset[str]) -> frozenset[str]:
    if not isinstance(value, list) or not value or not known.issuperset(value):
        raise BadRequestError("`events` must be a list of event types that this webhook supports")
    return frozenset(value)


def _resources(value: object) -> frozenset[str] | None:
    if not value or value == ["*"]:
        return None
    if not isinstance(value, list):
        raise BadRequestError('`resourceIds` must be a list of phone number ids, or ["*"]')
    return frozenset(map(str, value))


def _status(value: object) -> str:
    if value not in STATUSES:
        raise BadRequestError("`status` must be enabled or disabled")
    return str(value)


def _legacy(hook: Hook) -> dict[str, Any]:
    return {
        "id": hook.id,
        "userId": OWNER,
        "orgId": ORGANISATION,
        "label": hook.label,
        "status": hook.status,
        "url": hook.url,
        "key": hook.key,
        "createdAt": stamp(hook.created_at),
        "updatedAt": stamp(hook.created_at),
        "deletedAt": None,
        "events": sorted(hook.events or LEGACY_EVENTS),
        "resourceIds": sorted(hook.resource_ids or {"*"}),
    }


def _dated(hook: Hook) -> dict[str, Any]:
    return {
        "id": hook.id,
        "orgId": ORGANISATION,
        "label": hook.label,
        "status": hook.status,
        "url": hook.url,
        "apiVersion": SigningScheme.STANDARD.value,
        "events": sorted(hook.events or EVENT_TYPES),
        "resourceIds": sorted(hook.resource_ids or {"*"}),
        "createdAt": stamp(hook.created_at),
        "updatedAt": stamp(hook.updated_at or hook.created_at),
    }


def webhook_not_found() -> Response:
    """Return the provider's 404 response for an unknown webhook."""
    return not_found("0300404")


ROUTES = (
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
)

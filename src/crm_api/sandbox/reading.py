"""What can be read and registered at the sandbox: lists, lines, hooks."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from crm_api.sandbox import sending, shapes
from crm_api.sandbox.config import SigningScheme
from crm_api.sandbox.faults import FaultScope
from crm_api.sandbox.store import StoredMessage
from crm_api.sandbox.webhooks import Hook
from crm_api.sandbox.world import World

API_VERSION = "2026-03-30"
V1_PAGE = 100
DATED_PAGE = 50
HOOK_EVENTS = {
    "messages": frozenset({"message.received", "message.delivered"}),
    "calls": frozenset({"call.ringing", "call.completed", "call.recording.completed"}),
    "call-summaries": frozenset({"call.summary.completed"}),
    "call-transcripts": frozenset({"call.transcript.completed"}),
}

Handler = Callable[[World, Request], Awaitable[Response]]


class BadRequestError(Exception):
    """A parameter is missing or wrong; becomes a 400 in the interface's own shape."""


class _Answered(Response):
    """Nothing more to send: a fault has dealt with the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


def routes(world: World) -> list[Route]:
    """Return the provider's own paths, without the hot one."""
    v1 = [
        ("/v1/messages", "GET", list_messages),
        ("/v1/messages/{id}", "GET", get_message),
        ("/v1/phone-numbers", "GET", list_phone_numbers),
        ("/v1/webhooks", "GET", list_hooks),
        ("/v1/webhooks/{id}", "GET", get_hook),
        ("/v1/webhooks/{id}", "DELETE", delete_hook),
        ("/v1/webhooks/{family}", "POST", create_hook),
        ("/messages", "GET", list_workspace_messages),
        ("/webhooks", "GET", list_hooks),
        ("/webhooks", "POST", create_dated_hook),
        ("/webhooks/{id}", "DELETE", delete_hook),
    ]
    return [Route(path, _guarded(world, act), methods=[method]) for path, method, act in v1]


def _guarded(world: World, act: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        is_dated = not request.url.path.startswith("/v1/")
        if is_dated and request.headers.get("quo-api-version") != API_VERSION:
            return Response(
                shapes.dated_problem("Invalid Version", f"Quo-Api-Version: {API_VERSION} needed"),
                400,
                media_type="application/json",
            )
        refusal = sending.check_key(world, request.headers.get("authorization", ""))
        if refusal is not None:
            return Response(refusal[1], refusal[0], media_type="application/json")
        numbers = (*request.query_params.getlist("participants"), *_recipients(request))
        fault = world.faults.take(FaultScope.READ, numbers) if world.faults.orders else None
        # The server's own `send`, for a reset must reach the connection under the middleware.
        send: Send = request.scope["sandbox.send"]
        if fault is not None and await sending.refuse(world, fault, request.receive, send):
            return _Answered()
        try:
            return await act(world, request)
        except BadRequestError as error:
            body = (
                shapes.dated_problem("Bad Request", str(error))
                if is_dated
                else shapes.problem(400, "0201400", "Bad Request", str(error))
            )
            return Response(body, 400, media_type="application/json")

    return endpoint


async def list_messages(world: World, request: Request) -> Response:
    """List one thread, newest first: ``GET /v1/messages``."""
    query = request.query_params
    line_id, participants = query.get("phoneNumberId"), query.getlist("participants")
    if not line_id or not participants:
        raise BadRequestError("phoneNumberId and participants are required")
    limit = _limit(query.get("maxResults"), V1_PAGE)
    after, before = _instant(query, "createdAfter"), _instant(query, "createdBefore")
    thread = (line_id, tuple(sorted(participants)))
    found = [
        message
        for message in world.store.newest_first(
            before_seq=_cursor(query.get("pageToken")), thread=thread
        )
        if _is_listed(world, message)
        and (after is None or message.created_at >= after)
        and (before is None or message.created_at <= before)
    ]
    page = found[:limit]
    token = _token(page[-1]) if len(found) > limit else None
    return _json(
        {
            "data": [shapes.message(message) for message in page],
            "totalItems": len(page),
            "nextPageToken": token,
        }
    )


async def list_workspace_messages(world: World, request: Request) -> Response:
    """List the whole workspace, newest first: 2026-03-30 ``GET /messages``."""
    query = request.query_params
    limit = _limit(query.get("limit", "10"), DATED_PAGE)
    after, before = _instant(query, "createdAt[gt]"), _instant(query, "createdAt[lt]")
    wanted = {
        "phone_number_id": query.get("phoneNumberId"),
        "direction": query.get("direction"),
        "status": query.get("status"),
        "user_id": query.get("userId"),
        "sender": query.get("from"),
    }
    filters = {name: value for name, value in wanted.items() if value is not None}
    recipients = set(_recipients(request))
    found: list[StoredMessage] = []
    for message in world.store.newest_first(before_seq=_cursor(query.get("after"))):
        if (
            (after is None or message.created_at > after)
            and (before is None or message.created_at < before)
            and all(getattr(message, name) == value for name, value in filters.items())
            and (not recipients or recipients <= set(message.to))
            and _is_listed(world, message)
        ):
            found.append(message)
            if len(found) > limit:
                break
    page = found[:limit]
    cursor = _token(page[-1]) if len(found) > limit else None
    return _json({"data": [shapes.message(message) for message in page], "nextCursor": cursor})


async def get_message(world: World, request: Request) -> Response:
    """Read one text; one that is not listed yet can be read by its id."""
    message = world.store.by_id.get(request.path_params["id"])
    if message is None:
        return _not_found("0200404")
    return _json({"data": shapes.message(message)})


async def list_phone_numbers(world: World, request: Request) -> Response:  # noqa: ARG001
    """List the workspace's own lines."""
    return _json({"data": [shapes.phone_number(line) for line in world.config.lines]})


async def list_hooks(world: World, request: Request) -> Response:
    """List the hooks; only the older interface shows their keys."""
    is_dated = not request.url.path.startswith("/v1/")
    hooks = world.deliverer.hooks.values()
    return _json({"data": [_hook(hook, with_key=not is_dated) for hook in hooks]})


async def get_hook(world: World, request: Request) -> Response:
    """Read one hook."""
    hook = world.deliverer.hooks.get(request.path_params["id"])
    return _not_found("0300404") if hook is None else _json({"data": _hook(hook)})


async def delete_hook(world: World, request: Request) -> Response:
    """Remove a hook; what is under way to it still goes out."""
    hook = world.deliverer.hooks.pop(request.path_params["id"], None)
    return _not_found("0300404") if hook is None else Response(status_code=204)


async def create_hook(world: World, request: Request) -> Response:
    """Add a hook of the legacy scheme for one family of events."""
    known = HOOK_EVENTS.get(request.path_params["family"])
    if known is None:
        return _not_found("0300404")
    hook = await _new_hook(world, request, SigningScheme.LEGACY, known)
    return _json({"data": _hook(hook)}, 201)


async def create_dated_hook(world: World, request: Request) -> Response:
    """Add a hook of the 2026-03-30 scheme."""
    hook = await _new_hook(world, request, SigningScheme.STANDARD, None)
    return _json({"data": _hook(hook)}, 201)


async def _new_hook(
    world: World, request: Request, scheme: SigningScheme, known: frozenset[str] | None
) -> Hook:
    body = await read_json(request)
    url, events = body.get("url"), body.get("events")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise BadRequestError("url is required")
    if not isinstance(events, list) or not events or (known and not known.issuperset(events)):
        raise BadRequestError("events are required, of this family")
    resources = body.get("resourceIds") or ["*"]
    # The one key of the sandbox, so that a receiver that is set up for it can verify.
    prefix = "whsec_" if scheme is SigningScheme.STANDARD else ""
    hook = Hook(
        id="WH" + uuid4().hex[:10],
        url=url,
        key=prefix + world.config.signing_key.removeprefix("whsec_"),
        scheme=scheme,
        events=frozenset(events),
        resource_ids=None if resources == ["*"] else frozenset(resources),
        label=body.get("label"),
        status=body.get("status", "enabled"),
        created_at=world.config.clock(),
    )
    world.deliverer.hooks[hook.id] = hook
    return hook


async def read_json(request: Request) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        BadRequestError: It is none.
    """
    try:
        body = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError as error:
        raise BadRequestError("the body is no JSON") from error
    if not isinstance(body, dict):
        raise BadRequestError("the body is no JSON object")
    return body


def _hook(hook: Hook, *, with_key: bool = True) -> dict[str, Any]:
    shown = {
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
        "events": sorted(hook.events or HOOK_EVENTS["messages"]),
        "resourceIds": sorted(hook.resource_ids or {"*"}),
    }
    if not with_key:
        del shown["key"]
    return shown


def _is_listed(world: World, message: StoredMessage) -> bool:
    delay = world.config.list_delay_seconds
    if delay <= 0 or message.direction == "incoming":
        return True
    return world.config.clock() - message.created_at >= timedelta(seconds=delay)


def _recipients(request: Request) -> tuple[str, ...]:
    query = request.query_params
    together = query.get("to[all]", "")
    return (*query.getlist("to"), *(part for part in together.split(",") if part))


def _limit(text: str | None, most: int) -> int:
    if text is None or not text.isdigit() or not 1 <= int(text) <= most:
        raise BadRequestError(f"the page size must be 1 to {most}")
    return int(text)


def _instant(query: QueryParams, name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequestError(f"{name} is no ISO 8601 time") from error
    if instant.tzinfo is None:
        raise BadRequestError(f"{name} has no zone")
    return instant


def _token(message: StoredMessage) -> str:
    return urlsafe_b64encode(b"seq:%d" % message.seq).decode()


def _cursor(token: str | None) -> int | None:
    if token is None:
        return None
    try:
        return int(urlsafe_b64decode(token).removeprefix(b"seq:"))
    except (Base64Error, ValueError) as error:
        raise BadRequestError("the page token is none of this list's") from error


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _not_found(code: str) -> Response:
    body = shapes.problem(404, code, "Not Found", "Not found")
    return Response(body, 404, media_type="application/json")

"""What can be read at the sandbox: lists and lines; its hooks are beside it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from crm_api.sandbox import contacts, deliveries, history, hooks, sending, shapes
from crm_api.sandbox.faults import FaultScope
from crm_api.sandbox.requesting import (
    DATED_PAGE,
    BadRequestError,
    json_answer,
    not_found,
    read_instant,
    read_limit,
    read_token,
    write_token,
)
from crm_api.sandbox.store import StoredMessage
from crm_api.sandbox.world import World

API_VERSION = "2026-03-30"
V1_PAGE = 100

Handler = Callable[[World, Request], Awaitable[Response]]


class _Answered(Response):
    """Nothing more to send: a fault has dealt with the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


def routes(world: World) -> list[Route]:
    """Return the provider's own paths, without the hot one."""
    listed = [
        ("/v1/messages", "GET", list_messages),
        ("/v1/messages/{id}", "GET", get_message),
        ("/v1/phone-numbers", "GET", list_phone_numbers),
        ("/messages", "GET", list_workspace_messages),
        *hooks.listed(),
        *deliveries.listed(),
        *history.listed(),
        *contacts.listed(),
    ]
    return [Route(path, _guarded(world, act), methods=[method]) for path, method, act in listed]


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
    limit = read_limit(query.get("maxResults"), V1_PAGE)
    after, before = read_instant(query, "createdAfter"), read_instant(query, "createdBefore")
    thread = (line_id, tuple(sorted(participants)))
    found = [
        message
        for message in world.store.newest_first(
            before_seq=read_token(query.get("pageToken")), thread=thread
        )
        if _is_listed(world, message)
        and (after is None or message.created_at >= after)
        and (before is None or message.created_at <= before)
    ]
    page = found[:limit]
    token = write_token(page[-1].seq) if len(found) > limit else None
    return json_answer(
        {
            "data": [shapes.message(message) for message in page],
            "totalItems": len(page),
            "nextPageToken": token,
        }
    )


async def list_workspace_messages(world: World, request: Request) -> Response:
    """List the whole workspace, newest first: 2026-03-30 ``GET /messages``."""
    query = request.query_params
    limit = read_limit(query.get("limit", "10"), DATED_PAGE)
    after, before = read_instant(query, "createdAt[gt]"), read_instant(query, "createdAt[lt]")
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
    for message in world.store.newest_first(before_seq=read_token(query.get("after"))):
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
    cursor = write_token(page[-1].seq) if len(found) > limit else None
    return json_answer(
        {"data": [shapes.message(message) for message in page], "nextCursor": cursor}
    )


async def get_message(world: World, request: Request) -> Response:
    """Read one text; one that is not listed yet can be read by its id."""
    message = world.store.by_id.get(request.path_params["id"])
    if message is None:
        return not_found("0200404")
    return json_answer({"data": shapes.message(message)})


async def list_phone_numbers(world: World, request: Request) -> Response:  # noqa: ARG001
    """List the workspace's own lines."""
    return json_answer({"data": [shapes.phone_number(line) for line in world.config.lines]})


def _is_listed(world: World, message: StoredMessage) -> bool:
    delay = world.config.list_delay_seconds
    if delay <= 0 or message.direction == "incoming":
        return True
    return world.config.clock() - message.created_at >= timedelta(seconds=delay)


def _recipients(request: Request) -> tuple[str, ...]:
    query = request.query_params
    together = query.get("to[all]", "")
    return (*query.getlist("to"), *(part for part in together.split(",") if part))

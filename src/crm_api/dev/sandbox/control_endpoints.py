"""Endpoints under ``/sandbox`` that control the simulation: people, faults, time, messages."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crm_api.dev.sandbox.calls import read_call
from crm_api.dev.sandbox.config import BANNER, OwnLine, PeopleWeights
from crm_api.dev.sandbox.faults import Fault, FaultScope
from crm_api.dev.sandbox.media import picture
from crm_api.dev.sandbox.people import read_script
from crm_api.dev.sandbox.wire_format import BadRequestError, message_form, read_json, stamp
from crm_api.dev.sandbox.workspace import Workspace
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind

CHANGEABLE = frozenset(
    {"rate_per_second", "list_delay_seconds", "people", "time_scale", "hang_seconds"}
    | {"slow_seconds", "seed"}
)
PAGE = 100_000
DELIVERED_SECONDS = 20.0
"""How many seconds ``move_clock`` waits at most until all due webhooks are delivered. One delivery
takes less time."""
BUSY_POLL_SECONDS = 0.001

Handler = Callable[[Workspace, Request], Awaitable[dict[str, Any]]]


def routes(workspace: Workspace) -> list[Route]:
    """Return the routes of all endpoints in this module."""
    listed: list[tuple[str, str, Handler]] = [
        ("", "GET", show_banner),
        ("/messages", "GET", list_messages),
        ("/stats", "GET", show_stats),
        ("/clock", "GET", show_clock),
        ("/clock", "POST", move_clock),
        ("/people", "GET", list_scripts),
        ("/people", "POST", set_script),
        ("/people", "DELETE", clear_scripts),
        ("/faults", "GET", list_faults),
        ("/faults", "POST", add_fault),
        ("/faults", "DELETE", clear_faults),
        ("/receive", "POST", receive),
        ("/app-send", "POST", send_from_app),
        ("/calls", "POST", make_call),
        ("/contacts", "POST", add_contacts),
        ("/reset", "POST", reset),
        ("/config", "PATCH", change_config),
    ]
    return [
        Route("/sandbox" + path, _endpoint(workspace, act), methods=[method])
        for path, method, act in listed
    ]


def _endpoint(workspace: Workspace, act: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            body, status = await act(workspace, request), 200
        except (BadRequestError, ValueError, TypeError, KeyError) as error:
            body, status = {"error": str(error) or type(error).__name__}, 400
        return Response(orjson.dumps(body), status, media_type="application/json")

    return endpoint


async def show_banner(workspace: Workspace, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Return the phone lines of the sandbox, and a text which says that this is a sandbox."""
    return {"banner": BANNER, "lines": [asdict(line) for line in workspace.config.lines]}


async def list_messages(workspace: Workspace, request: Request) -> dict[str, Any]:
    """List all messages of the sandbox, oldest first.

    The list includes new messages, which the provider's API may list only after a delay.

    The query parameters are optional. ``direction`` selects incoming or outgoing messages.
    ``after`` selects messages with a greater position (``seq``). ``limit`` is the largest number of
    messages.
    """
    query = request.query_params
    direction, after = query.get("direction"), int(query.get("after", "0"))
    limit = int(query.get("limit", str(PAGE)))
    found = [
        message
        for message in workspace.store.ordered
        if message.seq > after and direction in (None, message.direction)
    ][:limit]
    return {
        "data": [
            {**message_form(message), "seq": message.seq, "errorCode": message.error_code}
            for message in found
        ],
        "next": found[-1].seq if len(found) == limit else None,
    }


async def show_stats(workspace: Workspace, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Return the counts of accepted messages (all, and by status), of replies and of webhooks."""
    return workspace.stats()


async def set_script(workspace: Workspace, request: Request) -> dict[str, Any]:
    """Set the script of a person: what the person does after a message of the company arrives.

    The request body is ``{number, script: [{do, after, …}]}``; ``people.Step`` describes an item of
    ``script``. A ``number`` such as ``+1617*`` sets the script for all phone numbers that begin
    with ``+1617``.
    """
    body = await read_json(request)
    steps = read_script(body["script"])
    workspace.people.scripts[str(body["number"])] = steps
    return {"number": body["number"], "script": [asdict(step) for step in steps]}


async def show_clock(workspace: Workspace, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Return the sandbox's time, and the seconds until its next planned event (null: no event).

    The response also has ``shift_seconds`` (how far the sandbox's clock is ahead of real time) and
    ``is_moving`` (whether a caller moves the clock repeatedly).
    """
    return {
        "now": workspace.timeline.now().isoformat(),
        "shift_seconds": workspace.timeline.shift.total_seconds(),
        "next_in_seconds": workspace.timeline.next_in_seconds,
        "is_moving": workspace.is_moving,
    }


async def move_clock(workspace: Workspace, request: Request) -> dict[str, Any]:
    """Move the sandbox's clock, and send the planned events that are due by the new time.

    The request body is ``{shift_seconds, is_moving?}``. ``shift_seconds`` is how far the clock is
    ahead of real time. The response waits until the events are delivered, at most
    ``DELIVERED_SECONDS``. While ``is_moving`` is true, the rate limit is off.
    """
    body = await read_json(request)
    workspace.is_moving = bool(body.get("is_moving", False))
    workspace.timeline.move(timedelta(seconds=float(body["shift_seconds"])))
    with suppress(TimeoutError):
        async with asyncio.timeout(DELIVERED_SECONDS):
            while workspace.deliverer.is_busy:  # noqa: ASYNC110 - a few milliseconds, and rarely
                await asyncio.sleep(BUSY_POLL_SECONDS)
    return await show_clock(workspace, request)


async def list_scripts(workspace: Workspace, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """List the scripts of the simulated people, each with the phone numbers to which it applies.

    A script says what a person does after each message.
    """
    return {
        "data": [
            {"number": number, "script": [asdict(step) for step in steps]}
            for number, steps in workspace.people.scripts.items()
        ]
    }


async def clear_scripts(workspace: Workspace, request: Request) -> dict[str, Any]:
    """Delete the script of the phone number in the query parameter ``number``.

    Without this parameter, delete all scripts.
    """
    number = request.query_params.get("number")
    if number is None:
        workspace.people.scripts.clear()
    else:
        workspace.people.scripts.pop(number, None)
    return await list_scripts(workspace, request)


async def list_faults(workspace: Workspace, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """List the active faults, oldest first."""
    return {"data": [asdict(fault) for fault in workspace.faults.active]}


async def add_fault(workspace: Workspace, request: Request) -> dict[str, Any]:
    """Add a fault.

    The request body is ``{kind, on?, number?, count? or probability?, retry_after?, delay?}``.
    ``faults.Fault`` describes the fields. Without ``count`` and ``probability``, the fault happens
    once.
    """
    body = await read_json(request)
    kind = FaultKind(str(body["kind"]))
    is_of_webhooks = kind.startswith(FaultScope.WEBHOOK)
    on = FaultScope(str(body.get("on", FaultScope.WEBHOOK if is_of_webhooks else FaultScope.SEND)))
    if is_of_webhooks != (on is FaultScope.WEBHOOK):
        raise BadRequestError(
            f"the fault {kind} is not possible on {on}; set `on` to `webhook` for a webhook fault, "
            "and to `send` or `read` for another fault"
        )
    fault = Fault(**{**body, "kind": kind, "on": on})
    if fault.count is None and fault.probability is None:
        fault.count = 1
    workspace.faults.active.append(fault)
    return asdict(fault)


async def clear_faults(workspace: Workspace, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Delete all faults."""
    workspace.faults.active.clear()
    return {"data": []}


async def receive(workspace: Workspace, request: Request) -> dict[str, Any]:
    """Simulate a message from a person to the company.

    The request body is ``{from, to?, text, media?}``. An item of ``media`` without ``url``
    becomes a picture that the sandbox draws.
    """
    body = await read_json(request)
    items = tuple(
        {"url": str(item["url"]), "type": str(item["type"])}
        if "url" in item
        else picture(workspace.config.media_url, uuid4().hex)
        for item in body.get("media", ())
    )
    message = workspace.receive(
        _line(workspace, body.get("to"), of=str(body["from"])),
        str(body["from"]),
        body["text"],
        items,
    )
    return {"data": message_form(message)}


async def send_from_app(workspace: Workspace, request: Request) -> dict[str, Any]:
    """Simulate a message that a colleague sends in the provider's app.

    The request body is ``{from?, to, text}``.
    """
    body = await read_json(request)
    to = body["to"]
    recipients = tuple(map(str, to)) if isinstance(to, list) else (str(to),)
    message = workspace.send_from_app(_line(workspace, body.get("from")), recipients, body["text"])
    return {"data": message_form(message)}


async def make_call(workspace: Workspace, request: Request) -> dict[str, Any]:
    """Simulate a phone call and send its events; ``calls.read_call`` describes the request body."""
    body = await read_json(request)
    call = read_call(
        body,
        _line(workspace, body.get("line"), of=str(body.get("person"))),
        at=workspace.config.clock(),
        media_url=workspace.config.media_url,
    )
    workspace.call(call)
    return {"id": call.id}


async def add_contacts(workspace: Workspace, request: Request) -> dict[str, Any]:
    """Add contacts and custom fields to the address book; see ``AddressBook.write``."""
    return workspace.address_book.write(
        await read_json(request), at=stamp(workspace.config.clock())
    )


async def reset(workspace: Workspace, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Delete messages, calls, contacts, faults and scripts; keep webhooks and configuration."""
    workspace.reset()
    return workspace.stats()


async def change_config(workspace: Workspace, request: Request) -> dict[str, Any]:
    """Change the configuration of the running sandbox; ``CHANGEABLE`` lists the accepted fields."""
    body = await read_json(request)
    unknown = body.keys() - CHANGEABLE
    if unknown:
        raise BadRequestError(
            f"{', '.join(sorted(unknown))} cannot be changed; the changeable fields are "
            f"{', '.join(sorted(CHANGEABLE))}"
        )
    if isinstance(body.get("people"), dict):
        body["people"] = PeopleWeights(**body["people"])
    elif body.get("people", "silent") != "silent":
        raise BadRequestError(
            '`people` must be "silent" or an object such as {"reply": 0.2, "stop": 0.05}, with the '
            "share of people for each action (0 to 1)"
        )
    workspace.configure(**body)
    return {name: body[name] for name in body if name != "people"}


def _line(workspace: Workspace, name: object, *, of: str | None = None) -> OwnLine:
    """Return the phone line whose id or phone number is ``name``.

    If ``name`` is None, return the line of the newest message or call of a person. ``of`` is the
    phone number of this person. If there is no such message or call, return the first line of the
    sandbox.

    Raises:
        BadRequestError: ``name`` is not a line of the sandbox.
    """
    if name is None:
        known = workspace.store.line_of.get(of) if of else None
        return (workspace.line(known) if known else None) or workspace.config.lines[0]
    line = workspace.line(str(name))
    if line is None:
        raise BadRequestError("the sandbox has no such line; GET /sandbox lists its lines")
    return line

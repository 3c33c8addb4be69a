"""The sandbox's own controls, under ``/sandbox``: people, faults, counts, incoming texts."""

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

from crm_api.sandbox import contacts, media, shapes
from crm_api.sandbox.calls import read_call
from crm_api.sandbox.config import BANNER, OwnLine, PeopleWeights
from crm_api.sandbox.faults import Fault, FaultKind, FaultScope
from crm_api.sandbox.people import read_script
from crm_api.sandbox.requesting import BadRequestError, read_json
from crm_api.sandbox.world import World

CHANGEABLE = frozenset(
    {"rate_per_second", "list_delay_seconds", "people", "time_scale", "hang_seconds"}
    | {"slow_seconds", "seed"}
)
PAGE = 100_000
DELIVERED_SECONDS = 20.0
"""Longer than the delivery of one event may take."""
BUSY_POLL_SECONDS = 0.001

Handler = Callable[[World, Request], Awaitable[dict[str, Any]]]


def routes(world: World) -> list[Route]:
    """Return the control paths."""
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
        ("/contacts", "POST", write_contacts),
        ("/reset", "POST", reset),
        ("/config", "PATCH", change_config),
    ]
    return [
        Route("/sandbox" + path, _endpoint(world, act), methods=[method])
        for path, method, act in listed
    ]


def _endpoint(world: World, act: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            body, status = await act(world, request), 200
        except (BadRequestError, ValueError, TypeError, KeyError) as error:
            body, status = {"error": str(error) or type(error).__name__}, 400
        return Response(orjson.dumps(body), status, media_type="application/json")

    return endpoint


async def show_banner(world: World, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Say what this is."""
    return {"banner": BANNER, "lines": [asdict(line) for line in world.config.lines]}


async def list_messages(world: World, request: Request) -> dict[str, Any]:
    """List texts, oldest first, whatever the list delay; ``limit`` and ``after`` (seq) page."""
    query = request.query_params
    direction, after = query.get("direction"), int(query.get("after", "0"))
    limit = int(query.get("limit", str(PAGE)))
    found = [
        message
        for message in world.store.ordered
        if message.seq > after and direction in (None, message.direction)
    ][:limit]
    return {
        "data": [
            {**shapes.message(message), "seq": message.seq, "errorCode": message.error_code}
            for message in found
        ],
        "next": found[-1].seq if len(found) == limit else None,
    }


async def show_stats(world: World, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Count what was accepted and what became of it."""
    return world.stats()


async def set_script(world: World, request: Request) -> dict[str, Any]:
    """Say what a number does on each text: ``{number, script: [{do, after, …}]}``.

    A number that ends with ``*`` stands for all that begin so.
    """
    body = await read_json(request)
    steps = read_script(body["script"])
    world.people.scripts[str(body["number"])] = steps
    return {"number": body["number"], "script": [asdict(step) for step in steps]}


async def show_clock(world: World, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Say what time it is here, and when the next thing is to happen."""
    return {
        "now": world.clock().isoformat(),
        "shift_seconds": world.clock.shift.total_seconds(),
        "next_in_seconds": world.timers.next_in_seconds,
        "is_moving": world.is_moving,
    }


async def move_clock(world: World, request: Request) -> dict[str, Any]:
    """Move time: ``{shift_seconds, is_moving?}``; answers when the events of it are delivered.

    While it is moving, the rate of requests is not limited.
    """
    body = await read_json(request)
    world.is_moving = bool(body.get("is_moving", False))
    world.move_time(timedelta(seconds=float(body["shift_seconds"])))
    with suppress(TimeoutError):
        async with asyncio.timeout(DELIVERED_SECONDS):
            while world.deliverer.is_busy:  # noqa: ASYNC110 - some milliseconds, and seldom
                await asyncio.sleep(BUSY_POLL_SECONDS)
    return await show_clock(world, request)


async def list_scripts(world: World, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Show who has a script."""
    return {
        "data": [
            {"number": number, "script": [asdict(step) for step in steps]}
            for number, steps in world.people.scripts.items()
        ]
    }


async def clear_scripts(world: World, request: Request) -> dict[str, Any]:
    """Forget the script of ``?number=``, or all."""
    number = request.query_params.get("number")
    if number is None:
        world.people.scripts.clear()
    else:
        world.people.scripts.pop(number, None)
    return await list_scripts(world, request)


async def list_faults(world: World, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Show the standing orders."""
    return {"data": [asdict(fault) for fault in world.faults.orders]}


async def add_fault(world: World, request: Request) -> dict[str, Any]:
    """Order a fault: ``{kind, on?, number?, count? or probability?, retry_after?, delay?}``."""
    body = await read_json(request)
    kind = FaultKind(str(body["kind"]))
    is_of_webhooks = kind.startswith(FaultScope.WEBHOOK)
    on = FaultScope(str(body.get("on", FaultScope.WEBHOOK if is_of_webhooks else FaultScope.SEND)))
    if is_of_webhooks != (on is FaultScope.WEBHOOK):
        raise BadRequestError(f"{kind} is no fault of {on}")
    fault = Fault(**{**body, "kind": kind, "on": on})
    if fault.count is None and fault.probability is None:
        fault.count = 1
    world.faults.orders.append(fault)
    return asdict(fault)


async def clear_faults(world: World, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Forget all standing orders."""
    world.faults.orders.clear()
    return {"data": []}


async def receive(world: World, request: Request) -> dict[str, Any]:
    """Let a person text in: ``{from, to?, text, media?}``; a picture without url is drawn."""
    body = await read_json(request)
    items = tuple(
        {"url": str(item["url"]), "type": str(item["type"])}
        if "url" in item
        else media.picture(world.config.media_url, uuid4().hex)
        for item in body.get("media", ())
    )
    message = world.receive(_line(world, body.get("to")), str(body["from"]), body["text"], items)
    return {"data": shapes.message(message)}


async def send_from_app(world: World, request: Request) -> dict[str, Any]:
    """Let a colleague send from the provider's app: ``{from?, to, text}``."""
    body = await read_json(request)
    to = body["to"]
    recipients = tuple(map(str, to)) if isinstance(to, list) else (str(to),)
    message = world.send_from_app(_line(world, body.get("from")), recipients, body["text"])
    return {"data": shapes.message(message)}


async def make_call(world: World, request: Request) -> dict[str, Any]:
    """Let a call happen; its events follow: see ``calls.read_call``."""
    body = await read_json(request)
    call = read_call(
        body,
        _line(world, body.get("line")),
        at=world.config.clock(),
        media_url=world.config.media_url,
    )
    world.call(call)
    return {"id": call.id}


async def write_contacts(world: World, request: Request) -> dict[str, Any]:
    """Write into the address book: see ``contacts.write``."""
    return contacts.write(world, await read_json(request))


async def reset(world: World, request: Request) -> dict[str, Any]:  # noqa: ARG001
    """Start afresh."""
    world.reset()
    return world.stats()


async def change_config(world: World, request: Request) -> dict[str, Any]:
    """Change settings of the running sandbox."""
    body = await read_json(request)
    unknown = body.keys() - CHANGEABLE
    if unknown:
        raise BadRequestError(f"cannot change {', '.join(sorted(unknown))}")
    if isinstance(body.get("people"), dict):
        body["people"] = PeopleWeights(**body["people"])
    elif body.get("people", "silent") != "silent":
        raise BadRequestError("people takes silent or an object of weights")
    world.configure(**body)
    return {name: body[name] for name in body if name != "people"}


def _line(world: World, name: object) -> OwnLine:
    line = world.config.lines[0] if name is None else world.line(str(name))
    if line is None:
        raise BadRequestError("there is no such line")
    return line

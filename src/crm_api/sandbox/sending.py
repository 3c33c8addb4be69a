"""``POST /v1/messages``, without a framework: benchmarks send through it."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from crm_api.sandbox import shapes, wire
from crm_api.sandbox.config import OwnLine
from crm_api.sandbox.faults import Fault, FaultKind, FaultScope
from crm_api.sandbox.world import World

MAX_TEXT = 1600
MAX_RECIPIENTS = 10
MAX_IDENTIFIER = 15
_E164 = re.compile(r"\+[1-9]\d{1,14}")

Refusal = tuple[int, bytes]

_REFUSALS: dict[FaultKind, Refusal] = {
    kind: (status, shapes.problem(status, code, title, message))
    for kind, status, code, title, message in (
        (FaultKind.THROTTLED, 429, "0200429", "Too Many Requests", "Rate limit exceeded"),
        (FaultKind.ERROR_BEFORE, 500, "0201500", "Unknown", "Unknown error"),
        (FaultKind.ERROR_AFTER, 500, "0201500", "Unknown", "Unknown error"),
        (FaultKind.NO_CREDITS, 402, "0200402", "Not Enough Credits", "Not enough credits"),
        (FaultKind.EXPIRED, 402, "0201402", "Subscription Expired", "Subscription expired"),
        (FaultKind.UNAUTHORIZED, 401, "0200401", "Unauthorized", "Invalid API key"),
        (
            FaultKind.DAILY_CAP,
            403,
            "0204403",
            "A2P 10DLC Daily Message Cap Reached",
            "Daily message cap reached",
        ),
        (
            FaultKind.NOT_NUMBER_USER,
            403,
            "0202403",
            "Not Phone Number User",
            "The user is no member of this number",
        ),
        (
            FaultKind.INTERNATIONAL,
            403,
            "0203403",
            "International Messaging Disabled",
            "International messaging is off",
        ),
        (FaultKind.NOT_FOUND, 404, "0200404", "Not Found", "Phone number not found"),
        (FaultKind.INVALID, 400, "0201400", "Bad Request", "Invalid recipient"),
        (
            FaultKind.NOT_APPROVED,
            400,
            "0206400",
            "A2P Registration Not Approved",
            "Registration is not approved",
        ),
    )
}


@dataclass(frozen=True)
class _Draft:
    """A request that passed validation."""

    line: OwnLine
    to: tuple[str, ...]
    text: str


class _RefusedError(Exception):
    """The request cannot be accepted."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal[0])
        self.refusal = refusal


async def post_message(world: World, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one send, or fail it as ordered."""
    key = wire.header(scope, b"authorization")
    refusal = check_key(world, key)
    try:
        body = await wire.read_body(receive)
    except wire.ClientGoneError:
        return  # An incomplete request is never accepted.
    if refusal is not None:
        await wire.answer(send, *refusal)
        return
    try:
        request: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        request = None
    to = request.get("to") if isinstance(request, dict) else None
    numbers = tuple(str(item) for item in to) if isinstance(to, list) else ()
    fault = world.faults.take(FaultScope.SEND, numbers) if world.faults.orders else None
    if fault is not None and await refuse(world, fault, receive, send):
        return
    try:
        draft = _validate(world, request)
    except _RefusedError as error:
        await wire.answer(send, *error.refusal)
        return
    stored = world.accept(draft.line, draft.to, draft.text)
    if fault is not None and await _fail_after(world, fault, receive, send):
        return
    shown = {**shapes.message(stored), "status": "queued"}
    if fault is not None and fault.kind is FaultKind.NO_ID:
        del shown["id"]
    await wire.answer(send, 202, orjson.dumps({"data": shown}))


async def refuse(world: World, fault: Fault, receive: Receive, send: Send) -> bool:
    """Fail a request before anything is done; False when this fault lets it be processed."""
    match fault.kind:
        case FaultKind.RESET_BEFORE:
            await wire.reset(receive, send)
        case FaultKind.HANG:
            await wire.wait_gone(receive, world.config.hang_seconds)
        case (
            FaultKind.ERROR_AFTER
            | FaultKind.RESET_AFTER
            | FaultKind.HANG_AFTER
            | FaultKind.SLOW
            | FaultKind.NO_ID
        ):
            return False
        case _:
            status, body = _REFUSALS[fault.kind]
            headers: tuple[tuple[bytes, bytes], ...] = ()
            if fault.retry_after is not None:
                headers = ((b"retry-after", f"{fault.retry_after:g}".encode()),)
            await wire.answer(send, status, body, headers)
    return True


async def _fail_after(world: World, fault: Fault, receive: Receive, send: Send) -> bool:
    match fault.kind:
        case FaultKind.RESET_AFTER:
            await wire.reset(receive, send)
        case FaultKind.HANG_AFTER:
            await wire.wait_gone(receive, world.config.hang_seconds)
        case FaultKind.ERROR_AFTER:
            await wire.answer(send, *_REFUSALS[FaultKind.ERROR_AFTER])
        case FaultKind.SLOW:
            await asyncio.sleep(world.config.slow_seconds)
            return False
        case _:
            return False
    return True


def check_key(world: World, key: str) -> Refusal | None:
    """Refuse a request without a key, with a Bearer prefix, or too soon after others."""
    if not key or key.startswith("Bearer "):
        return 401, shapes.nested_problem("Unauthorized: send the bare API key", "unauthorized")
    if world.is_too_fast(key):
        return _REFUSALS[FaultKind.THROTTLED]
    return None


def _validate(world: World, request: object) -> _Draft:
    if not isinstance(request, dict):
        raise _invalid("/", "Expected a JSON object", None, "object")
    text, sender, to = request.get("content"), request.get("from"), request.get("to")
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT or not text.strip():
        raise _invalid("/content", "Expected 1 to 1600 characters, not all blank", text, "string")
    if not isinstance(sender, str):
        raise _invalid("/from", "Expected a phone number or its id", sender, "string")
    if not isinstance(to, list) or not 1 <= len(to) <= MAX_RECIPIENTS:
        raise _invalid("/to", "Expected 1 to 10 recipients", to, "array")
    for number in to:
        # The second branch is the vendor's: any short text passes, also a number without +1.
        if not isinstance(number, str) or not (
            _E164.fullmatch(number) or 0 < len(number) <= MAX_IDENTIFIER
        ):
            raise _invalid("/to", "Expected E.164", number, "string")
    line = world.line(sender)
    if line is None:
        raise _RefusedError(_REFUSALS[FaultKind.NOT_FOUND])
    return _Draft(line, tuple(to), text)


def _invalid(path: str, message: str, value: object, kind: str) -> _RefusedError:
    errors = [{"path": path, "message": message, "value": value, "schema": {"type": kind}}]
    body = shapes.problem(400, "0201400", "Bad Request", f"{path}: {message}", errors=errors)
    return _RefusedError((400, body))

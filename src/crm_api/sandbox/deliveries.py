"""The provider's log of deliveries, its samples, and its retry on request."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from crm_api.sandbox import samples, shapes
from crm_api.sandbox.hooks import find_dated, missing
from crm_api.sandbox.requesting import (
    DATED_PAGE,
    BadRequestError,
    json_answer,
    read_instant,
    read_json,
    read_limit,
)
from crm_api.sandbox.webhooks import Delivery
from crm_api.sandbox.world import World

LOG_STATUSES = frozenset({"success", "pending", "sending", "failed"})

Handler = Callable[[World, Request], Awaitable[Response]]


def listed() -> list[tuple[str, str, Handler]]:
    """Return the paths under a webhook of 2026-03-30."""
    return [
        ("/webhooks/{id}/events", "GET", list_deliveries),
        ("/webhooks/{id}/events/test", "POST", send_test),
        ("/webhooks/{id}/events/{delivery_id}", "GET", get_delivery),
        ("/webhooks/{id}/events/{delivery_id}/retry", "POST", retry),
    ]


async def list_deliveries(world: World, request: Request) -> Response:
    """List a hook's deliveries, newest first; filters by status, type, resource and time."""
    hook = find_dated(world, request)
    if hook is None:
        return missing()
    query = request.query_params
    status, limit = query.get("status"), read_limit(query.get("limit", "10"), DATED_PAGE)
    if status is not None and status not in LOG_STATUSES:
        raise BadRequestError("status is success, pending, sending or failed")
    after, before = read_instant(query, "createdAt[gt]"), read_instant(query, "createdAt[lt]")
    kinds = {name for name in (query.get("eventType"),) if name is not None}
    kinds.update(name for name in query.get("eventType[in]", "").split(",") if name)
    found = [
        delivery
        for delivery in _older(world, query.get("after"))
        if delivery.hook is hook
        and status in (None, delivery.status)
        and (not kinds or delivery.event_type in kinds)
        and query.get("resourceId") in (None, delivery.resource_id)
        and _is_within(delivery.first_at, after, before)
    ][: limit + 1]
    page = found[:limit]
    cursor = page[-1].id if len(found) > limit else None
    return json_answer({"data": [_entry(delivery) for delivery in page], "nextCursor": cursor})


async def get_delivery(world: World, request: Request) -> Response:
    """Read one delivery: what was sent, and every attempt, the last one first."""
    delivery = _find_delivery(world, request)
    if delivery is None:
        return missing()
    shown = _entry(delivery)
    del shown["status"], shown["nextAttemptAt"]
    shown["requestBody"] = orjson.loads(delivery.body)
    shown["attempts"] = [
        {
            "id": attempt.id,
            "timestamp": shapes.stamp(attempt.at),
            "status": "success" if attempt.is_ok else "failed",
            "responseStatusCode": attempt.response_status,
            "responseBody": "",
            "responseDurationMs": attempt.duration_ms,
            "triggerType": attempt.trigger,
            "url": attempt.url,
        }
        for attempt in reversed(delivery.attempts)
    ]
    return json_answer({"data": shown})


async def retry(world: World, request: Request) -> Response:
    """Deliver once more, soon."""
    delivery = _find_delivery(world, request)
    if delivery is None:
        return missing()
    world.deliverer.retry(delivery)
    return json_answer({}, HTTPStatus.ACCEPTED)


async def send_test(world: World, request: Request) -> Response:
    """Deliver a signed sample, and show it."""
    hook = find_dated(world, request)
    if hook is None:
        return missing()
    kind = (await read_json(request)).get("eventType")
    if kind not in samples.EVENT_TYPES:
        raise BadRequestError("eventType is one of the events")
    sample = samples.sample(str(kind), world.config.lines[0], at=world.config.clock())
    world.deliverer.emit_sample(hook, sample)
    return json_answer(sample.dated)


def _find_delivery(world: World, request: Request) -> Delivery | None:
    delivery = world.deliverer.log.get(request.path_params["delivery_id"])
    hook = find_dated(world, request)
    return delivery if delivery is not None and delivery.hook is hook else None


def _entry(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "eventId": delivery.event_id,
        "resourceId": delivery.resource_id,
        "eventType": delivery.event_type,
        "status": delivery.status,
        "nextAttemptAt": None,
        "createdAt": shapes.stamp(delivery.first_at),
    }


def _older(world: World, cursor: str | None) -> list[Delivery]:
    """Return the log, newest first, from after the entry that the cursor names."""
    log = list(reversed(world.deliverer.log.values()))
    if cursor is None:
        return log
    places = [place for place, delivery in enumerate(log) if delivery.id == cursor]
    if not places:
        raise BadRequestError("the cursor is none of this list's")
    return log[places[0] + 1 :]


def _is_within(at: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or at > after) and (before is None or at < before)

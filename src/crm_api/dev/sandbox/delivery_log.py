"""Simulate the provider's endpoints that list and retry webhook deliveries and send test events."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from crm_api.dev.sandbox.sample_events import EVENT_TYPES, sample_event
from crm_api.dev.sandbox.webhook_endpoints import find_dated, webhook_not_found
from crm_api.dev.sandbox.webhook_sender import Delivery
from crm_api.dev.sandbox.wire_format import (
    DATED_PAGE,
    BadRequestError,
    json_answer,
    read_instant,
    read_json,
    read_limit,
    stamp,
)
from crm_api.dev.sandbox.workspace import Workspace

LOG_STATUSES = frozenset({"success", "pending", "sending", "failed"})


async def list_deliveries(workspace: Workspace, request: Request) -> Response:
    """List the deliveries of a webhook, newest first; filter by status, type, resource and time."""
    hook = find_dated(workspace, request)
    if hook is None:
        return webhook_not_found()
    query = request.query_params
    status, limit = query.get("status"), read_limit(query.get("limit", "10"), DATED_PAGE)
    if status is not None and status not in LOG_STATUSES:
        raise BadRequestError("`status` must be success, pending, sending or failed")
    after, before = read_instant(query, "createdAt[gt]"), read_instant(query, "createdAt[lt]")
    kinds = {name for name in (query.get("eventType"),) if name is not None}
    kinds.update(name for name in query.get("eventType[in]", "").split(",") if name)
    found = [
        delivery
        for delivery in _list_older(workspace, query.get("after"))
        if delivery.hook is hook
        and status in (None, delivery.status)
        and (not kinds or delivery.event_type in kinds)
        and query.get("resourceId") in (None, delivery.resource_id)
        and _is_within(delivery.first_at, after, before)
    ][: limit + 1]
    page = found[:limit]
    cursor = page[-1].id if len(found) > limit else None
    return json_answer({"data": [_entry(delivery) for delivery in page], "nextCursor": cursor})


async def get_delivery(workspace: Workspace, request: Request) -> Response:
    """Return one delivery with its request body and its attempts; the newest attempt is first."""
    delivery = _find_delivery(workspace, request)
    if delivery is None:
        return webhook_not_found()
    shown = _entry(delivery)
    del shown["status"], shown["nextAttemptAt"]
    shown["requestBody"] = orjson.loads(delivery.body)
    shown["attempts"] = [
        {
            "id": attempt.id,
            "timestamp": stamp(attempt.at),
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


async def retry(workspace: Workspace, request: Request) -> Response:
    """Queue one more attempt of a delivery; respond with 202."""
    delivery = _find_delivery(workspace, request)
    if delivery is None:
        return webhook_not_found()
    workspace.deliverer.retry(delivery)
    return json_answer({}, HTTPStatus.ACCEPTED)


async def send_test(workspace: Workspace, request: Request) -> Response:
    """Queue a signed sample event for a webhook, and return the event."""
    hook = find_dated(workspace, request)
    if hook is None:
        return webhook_not_found()
    kind = (await read_json(request)).get("eventType")
    if kind not in EVENT_TYPES:
        raise BadRequestError("`eventType` must be one of the provider's event types")
    sample = sample_event(str(kind), workspace.config.lines[0], at=workspace.config.clock())
    workspace.deliverer.emit_sample(hook, sample)
    return json_answer(sample.dated)


def _find_delivery(workspace: Workspace, request: Request) -> Delivery | None:
    delivery = workspace.deliverer.log.get(request.path_params["delivery_id"])
    hook = find_dated(workspace, request)
    return delivery if delivery is not None and delivery.hook is hook else None


def _entry(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "eventId": delivery.event_id,
        "resourceId": delivery.resource_id,
        "eventType": delivery.event_type,
        "status": delivery.status,
        "nextAttemptAt": None,
        "createdAt": stamp(delivery.first_at),
    }


def _list_older(workspace: Workspace, cursor: str | None) -> list[Delivery]:
    """Return the deliveries that are older than the delivery with the id ``cursor``, newest first.

    If ``cursor`` is None, return all deliveries.

    Raises:
        BadRequestError: No delivery has the id ``cursor``.
    """
    log = list(reversed(workspace.deliverer.log.values()))
    if cursor is None:
        return log
    found = [position for position, delivery in enumerate(log) if delivery.id == cursor]
    if not found:
        raise BadRequestError(
            "the cursor does not belong to this list; leave it out to get the first page"
        )
    return log[found[0] + 1 :]


def _is_within(at: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or at > after) and (before is None or at < before)


ROUTES = (
    ("/webhooks/{id}/events", "GET", list_deliveries),
    ("/webhooks/{id}/events/test", "POST", send_test),
    ("/webhooks/{id}/events/{delivery_id}", "GET", get_delivery),
    ("/webhooks/{id}/events/{delivery_id}/retry", "POST", retry),
)

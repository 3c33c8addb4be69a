"""Deliveries: claimed, their tries written down, listed, sent again, forgotten in the end."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.events.payloads import TEST_TYPE, TestFacts
from crm_api.domain.operations import service as operations
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.schemas import format_instant
from crm_api.domain.webhook_deliveries import queries
from crm_api.domain.webhook_deliveries.errors import WebhookDeliveryNotFoundError
from crm_api.domain.webhook_deliveries.models import WebhookDelivery
from crm_api.domain.webhook_deliveries.queries import Claimed, Selection, Tried
from crm_api.domain.webhook_deliveries.schedule import Jitter, Reply, judge, random_fraction
from crm_api.domain.webhook_endpoints import health
from crm_api.domain.webhook_endpoints import service as endpoints
from crm_api.domain.webhook_endpoints.health import Answers
from crm_api.ids import new_id

KEPT_FOR = timedelta(days=14)
"""Twice as long as the log of events, and longer than the last retry by far."""
FORGOTTEN_AT_ONCE = 5_000


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A claimed delivery and what came of it; None: it was not tried, and is due again."""

    claimed: Claimed
    reply: Reply | None


def body_of(claimed: Claimed) -> str:
    """Write a message as it is sent: type, timestamp, data."""
    told = {
        "type": claimed.type,
        "timestamp": format_instant(claimed.happened_at),
        "data": claimed.data,
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


async def claim(
    uow: UnitOfWork, *, allowances: dict[UUID, int], lease: timedelta, now: datetime
) -> list[Claimed]:
    """Take what is due, up to each endpoint's allowance; who does not come back loses it."""
    return await queries.claim(uow.session, allowances=allowances, now=now, lease_until=now + lease)


async def record(
    uow: UnitOfWork,
    outcomes: Sequence[Outcome],
    *,
    disable_after: timedelta,
    now: datetime,
    jitter: Jitter = random_fraction,
) -> None:
    """Write down what came of tries, when those that failed are tried again, and who is disabled.

    Args:
        disable_after: An endpoint that takes nothing for so long is disabled.
        jitter: Gives numbers from 0 to 1.
    """
    untried = [one.claimed for one in outcomes if one.reply is None]
    tried = [(one.claimed, one.reply) for one in outcomes if one.reply is not None]
    if untried:
        await queries.put_back(uow.session, untried, now=now)
    if tried:
        written = [_judged(claimed, reply, now=now, jitter=jitter) for claimed, reply in tried]
        await queries.record(uow.session, written, now=now)
        await health.note(uow, _answers(tried, now=now), disable_after=disable_after, now=now)


def _judged(claimed: Claimed, reply: Reply, *, now: datetime, jitter: Jitter) -> Tried:
    verdict = judge(reply, failures=claimed.attempts + 1, now=now, jitter=jitter)
    return Tried(
        claimed=claimed,
        status=verdict.status,
        next_attempt_at=verdict.next_attempt_at,
        duration_ms=reply.duration_ms,
        response_status=reply.status,
        response_body=reply.body,
        error_code=reply.error_code,
        last_error=reply.detail,
    )


def _answers(tried: Sequence[tuple[Claimed, Reply]], *, now: datetime) -> Answers:
    replies: dict[UUID, list[Reply]] = defaultdict(list)
    for claimed, reply in tried:
        replies[claimed.endpoint_id].append(reply)
    arrived = frozenset(one for one, got in replies.items() if any(r.has_arrived for r in got))
    holds = {
        one: now + max(found)
        for one, got in replies.items()
        if (found := [reply.hold for reply in got if reply.hold is not None])
    }
    return Answers(
        arrived=arrived,
        failed=frozenset(replies) - arrived,
        gone=frozenset(one for one, got in replies.items() if any(r.is_gone for r in got)),
        holds=holds,
    )


async def send_test(uow: UnitOfWork, *, endpoint_id: UUID, now: datetime) -> WebhookDelivery:
    """Send an endpoint a message that says nothing but that it is one.

    Raises:
        WebhookEndpointNotFoundError: There is none with this id.
        WebhookEndpointDisabledError: It is disabled.
    """
    await endpoints.get_active(uow, endpoint_id)
    made = await queries.add(
        uow.session,
        values={
            "id": new_id(),
            "endpoint_id": endpoint_id,
            "type": TEST_TYPE,
            "happened_at": now,
            "data": TestFacts(endpoint_id=endpoint_id).model_dump(mode="json"),
            "next_attempt_at": now,
            "created_at": now,
        },
    )
    uow.after_commit(endpoints.DELIVER)
    return made


async def get(uow: UnitOfWork, *, endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """Read one delivery of an endpoint.

    Raises:
        WebhookEndpointNotFoundError: There is no such endpoint.
        WebhookDeliveryNotFoundError: It has no delivery with this id.
    """
    await endpoints.get(uow, endpoint_id)
    found = await queries.find(uow.session, endpoint_id=endpoint_id, delivery_id=delivery_id)
    if found is None:
        raise WebhookDeliveryNotFoundError("The endpoint has no delivery with this id.")
    return found


async def list_deliveries(
    uow: UnitOfWork, selection: Selection, *, cursor: str | None, limit: int
) -> Page[WebhookDelivery]:
    """List deliveries of an endpoint, newest first.

    Raises:
        WebhookEndpointNotFoundError: There is no such endpoint.
        InvalidCursorError: The cursor is not one of this list's.
    """
    await endpoints.get(uow, selection.endpoint_id)
    cursors = Cursors("webhook_deliveries", selection=selection)
    rows = await queries.list_deliveries(
        uow.session, selection, after=cursors.read(cursor), limit=limit + 1
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def retry(
    uow: UnitOfWork, *, endpoint_id: UUID, delivery_id: UUID, now: datetime
) -> WebhookDelivery:
    """Send one delivery again, whatever became of it, with all its tries before it.

    Raises:
        WebhookEndpointNotFoundError: There is no such endpoint.
        WebhookEndpointDisabledError: It is disabled.
        WebhookDeliveryNotFoundError: It has no delivery with this id.
    """
    await endpoints.get_active(uow, endpoint_id)
    selection = Selection(endpoint_id=endpoint_id)
    await queries.begin_anew(uow.session, selection, delivery_id=delivery_id, now=now)
    uow.after_commit(endpoints.DELIVER)
    return await get(uow, endpoint_id=endpoint_id, delivery_id=delivery_id)


async def count_selected(uow: UnitOfWork, selection: Selection) -> int:
    """Count what a retry of many would send again.

    Raises:
        WebhookEndpointNotFoundError: There is no such endpoint.
    """
    await endpoints.get(uow, selection.endpoint_id)
    return await queries.count(uow.session, selection)


async def retry_selected(
    uow: UnitOfWork, selection: Selection, *, actor: str, now: datetime
) -> int:
    """Send selected deliveries again; how many. It goes into the audit log.

    Raises:
        WebhookEndpointNotFoundError: There is no such endpoint.
        WebhookEndpointDisabledError: It is disabled.
    """
    await endpoints.get_active(uow, selection.endpoint_id)
    count = await queries.begin_anew(uow.session, selection, now=now)
    await operations.audit(
        uow,
        actor=actor,
        action="retry_webhook_deliveries",
        subject=str(selection.endpoint_id),
        detail={"deliveries": count, "status": selection.status, "type": selection.type},
        now=now,
    )
    uow.after_commit(endpoints.DELIVER)
    return count


async def clean_up(uow: UnitOfWork, *, now: datetime, limit: int = FORGOTTEN_AT_ONCE) -> int:
    """Forget the oldest deliveries, and what is left of deleted endpoints; how many rows."""
    gone = await queries.forget(uow.session, before=now - KEPT_FOR, limit=limit)
    if gone:
        return len(gone)
    return await health.clean_up(uow, now=now)

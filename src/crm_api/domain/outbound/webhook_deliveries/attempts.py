"""Reserve due deliveries for a worker, and store the result of each attempt."""

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.event_log import EventType
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.outbound.live_events.message_details import read_message_details
from crm_api.domain.outbound.webhook_deliveries.schedule import (
    EndpointResponse,
    Jitter,
    NextState,
    next_state_of,
    random_fraction,
)
from crm_api.domain.outbound.webhook_endpoints import health
from crm_api.domain.outbound.webhook_endpoints.health import EndpointResponses
from crm_api.platform.database import UnitOfWork, typed_rows


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that is reserved for this worker for a limited time (the lease).

    Attributes:
        attempts: The number of attempts before this one.
        claims: The number of claims and requested retries, including this claim. If the delivery is
            claimed again, or a retry is requested, this worker's result is not stored.
    """

    id: UUID
    endpoint_id: UUID
    type: str
    happened_at: datetime
    data: dict[str, Any]
    attempts: int
    claims: int


@dataclass(frozen=True, kw_only=True)
class DeliveryResult:
    """A reserved delivery with the endpoint's response.

    Attributes:
        reply: The response; None if the delivery was not sent. Such a delivery is due again
            immediately.
    """

    claimed: ClaimedDelivery
    reply: EndpointResponse | None


def body_of(claimed: ClaimedDelivery) -> str:
    """Return the JSON body of a delivery: type, timestamp and data."""
    content = {
        "type": claimed.type,
        "timestamp": format_instant(claimed.happened_at),
        "data": claimed.data,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


# Each endpoint has its own maximum number of deliveries per claim (reservation). So no endpoint
# waits because another endpoint has many deliveries.
CLAIM_DELIVERIES = text("""
    UPDATE webhook_delivery d
       SET claims = d.claims + 1, next_attempt_at = :lease_until
      FROM (SELECT due.id
              FROM unnest(CAST(:endpoint_ids AS uuid[]), CAST(:allowances AS integer[]))
                AS asked (endpoint_id, allowance)
             CROSS JOIN LATERAL (
                   SELECT w.id FROM webhook_delivery w
                    WHERE w.endpoint_id = asked.endpoint_id AND w.status = 'pending'
                      AND w.next_attempt_at <= :now
                    ORDER BY w.next_attempt_at, w.id
                    LIMIT asked.allowance
                      FOR UPDATE SKIP LOCKED) due) due
     WHERE d.id = due.id
    RETURNING d.id, d.endpoint_id, d.type, d.happened_at, d.data, d.attempts, d.claims
""")


async def claim_deliveries(
    uow: UnitOfWork, *, allowances: dict[UUID, int], lease: timedelta, now: datetime
) -> list[ClaimedDelivery]:
    """Reserve due deliveries for the time of ``lease``; return them sorted by id.

    Args:
        allowances: The maximum number of deliveries for each endpoint.
    """
    values = {
        "endpoint_ids": list(allowances),
        "allowances": list(allowances.values()),
        "now": now,
        "lease_until": now + lease,
    }
    rows = typed_rows(ClaimedDelivery, await uow.session.execute(CLAIM_DELIVERIES, values))
    return sorted(rows, key=lambda one: one.id)


async def add_message_details(
    uow: UnitOfWork, claimed: Sequence[ClaimedDelivery], *, readers: Collection[UUID]
) -> list[ClaimedDelivery]:
    """Return the deliveries, after adding details to those that report a received message.

    The details are the phone number, the contact, and the first words of the message.

    Args:
        readers: The ids of the endpoints that may read messages; other endpoints get no details.
    """
    shown = {
        one.id: UUID(one.data["message_id"])
        for one in claimed
        if one.type == EventType.MESSAGE_RECEIVED and one.endpoint_id in readers
    }
    details = await read_message_details(uow.session, message_ids=list(set(shown.values())))
    return [
        replace(one, data=one.data | details.get(shown[one.id], {})) if one.id in shown else one
        for one in claimed
    ]


RELEASE_DELIVERIES = text("""
    UPDATE webhook_delivery d SET next_attempt_at = :now
      FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS integer[])) AS o (id, claims)
     WHERE d.id = o.id AND d.claims = o.claims
""")


async def record_results(
    uow: UnitOfWork,
    outcomes: Sequence[DeliveryResult],
    *,
    disable_after: timedelta,
    now: datetime,
    jitter: Jitter = random_fraction,
) -> None:
    """Store the results of attempts, schedule retries, and disable endpoints that fail.

    Args:
        disable_after: How long an endpoint may fail without any success before it is disabled.
        jitter: Returns a random number from 0 to 1; the larger the number, the longer is the wait
            before a retry.
    """
    untried = [one.claimed for one in outcomes if one.reply is None]
    tried = [(one.claimed, one.reply) for one in outcomes if one.reply is not None]
    if untried:
        values = {
            "ids": [one.id for one in untried],
            "claims": [one.claims for one in untried],
            "now": now,
        }
        await uow.session.execute(RELEASE_DELIVERIES, values)
    if tried:
        written = [
            (
                claimed,
                reply,
                next_state_of(reply, failures=claimed.attempts + 1, now=now, jitter=jitter),
            )
            for claimed, reply in tried
        ]
        await _store_tries(uow.session, written, now=now)
        await health.record_responses(
            uow, _answers(tried, now=now), disable_after=disable_after, now=now
        )


def _answers(
    tried: Sequence[tuple[ClaimedDelivery, EndpointResponse]], *, now: datetime
) -> EndpointResponses:
    replies: dict[UUID, list[EndpointResponse]] = defaultdict(list)
    for claimed, reply in tried:
        replies[claimed.endpoint_id].append(reply)
    arrived = frozenset(one for one, got in replies.items() if any(r.has_arrived for r in got))
    holds = {
        one: now + max(found)
        for one, got in replies.items()
        if (found := [reply.pause for reply in got if reply.pause is not None])
    }
    return EndpointResponses(
        arrived=arrived,
        failed=frozenset(replies) - arrived,
        gone=frozenset(one for one, got in replies.items() if any(r.is_gone for r in got)),
        holds=holds,
    )


# The rows are found by the id; then the claim number is compared. The statement has no condition on
# the status. With the condition `status = 'pending'`, the planner could choose the partial index of
# pending deliveries. This would be slow: the index does not contain the id as its first column, so
# PostgreSQL would read all pending deliveries.
STORE_TRIES = text("""
    UPDATE webhook_delivery d
       SET status = o.status, attempts = d.attempts + 1, next_attempt_at = o.next_attempt_at,
           last_attempt_at = :now, duration_ms = o.duration_ms,
           response_status = o.response_status, response_body = o.response_body,
           error_code = o.error_code, last_error = o.last_error,
           delivered_at = CASE o.status WHEN 'delivered' THEN CAST(:now AS timestamptz) END
      FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS integer[]), CAST(:statuses AS text[]),
                  CAST(:next_attempts AS timestamptz[]), CAST(:durations AS integer[]),
                  CAST(:response_statuses AS smallint[]), CAST(:response_bodies AS text[]),
                  CAST(:error_codes AS text[]), CAST(:last_errors AS text[]))
        AS o (id, claims, status, next_attempt_at, duration_ms, response_status, response_body,
              error_code, last_error)
     WHERE d.id = o.id AND d.claims = o.claims
""")


async def _store_tries(
    session: AsyncSession,
    tried: Sequence[tuple[ClaimedDelivery, EndpointResponse, NextState]],
    *,
    now: datetime,
) -> None:
    """Store the results of attempts.

    Skip deliveries that were reserved again, or for which a retry was requested, in the meantime.
    """
    await session.execute(
        STORE_TRIES,
        {
            "ids": [claimed.id for claimed, _, _ in tried],
            "claims": [claimed.claims for claimed, _, _ in tried],
            "statuses": [state.status.value for _, _, state in tried],
            "next_attempts": [state.next_attempt_at for _, _, state in tried],
            "durations": [reply.duration_ms for _, reply, _ in tried],
            "response_statuses": [reply.status for _, reply, _ in tried],
            "response_bodies": [reply.body for _, reply, _ in tried],
            "error_codes": [reply.error_code for _, reply, _ in tried],
            "last_errors": [reply.detail for _, reply, _ in tried],
            "now": now,
        },
    )

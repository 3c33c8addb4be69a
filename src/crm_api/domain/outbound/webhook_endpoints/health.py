"""Store how endpoints responded to a batch of deliveries; pause or disable endpoints."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession
from standardwebhooks import Webhook

from crm_api.domain.alerts import service as alerts
from crm_api.domain.outbound.webhook_endpoints.models import (
    DisabledReason,
    EndpointStatus,
    WebhookEndpoint,
)
from crm_api.domain.outbound.webhook_endpoints.secrets import signer
from crm_api.domain.outbound.webhook_endpoints.service import DISABLED_ALERT
from crm_api.platform.database import UnitOfWork
from crm_api.platform.encryption import UnsealError


@dataclass(frozen=True, kw_only=True)
class DueEndpoint:
    """An endpoint with due deliveries.

    Attributes:
        signers: The objects that sign the endpoint's deliveries: one per secret, the current secret
            first. Empty if no secret can be decrypted.
        is_failing: True if a delivery has failed, and no delivery has succeeded since then.
        reads_messages: Whether the scopes of the endpoint include ``messages:read`` or ``admin``.
    """

    id: UUID
    url: str
    signers: Sequence[Webhook] = field(repr=False)
    is_failing: bool
    reads_messages: bool


@dataclass(frozen=True, kw_only=True)
class EndpointResponses:
    """How endpoints responded in a batch of attempts.

    Attributes:
        arrived: The endpoints that accepted at least one delivery.
        failed: The endpoints to which deliveries were sent, but which accepted none of them.
        gone: The endpoints that responded with 410 (Gone).
        holds: For each endpoint that asked for a pause: when the pause ends.
    """

    arrived: frozenset[UUID] = frozenset()
    failed: frozenset[UUID] = frozenset()
    gone: frozenset[UUID] = frozenset()
    holds: Mapping[UUID, datetime] = field(default_factory=dict)


# Only the newest five secrets of an endpoint sign its deliveries. Otherwise each rotation of the
# secret within the grace period would add one more signature to every delivery.
LIST_DUE = text("""
    SELECT e.id, e.url, e.failing_since, e.scopes && '{messages:read,admin}' AS reads_messages,
           ARRAY(SELECT s.sealed FROM webhook_secret s
                  WHERE s.endpoint_id = e.id
                    AND (s.expires_at IS NULL OR s.expires_at > CAST(:now AS timestamptz))
                  ORDER BY s.created_at DESC, s.id DESC LIMIT 5) AS secrets
      FROM webhook_endpoint e
     WHERE e.status = 'active' AND e.deleted_at IS NULL
       AND (e.held_until IS NULL OR e.held_until <= CAST(:now AS timestamptz))
       AND EXISTS (SELECT FROM webhook_delivery d
                    WHERE d.endpoint_id = e.id AND d.status = 'pending'
                      AND d.next_attempt_at <= CAST(:now AS timestamptz))
""")


async def list_due_endpoints(uow: UnitOfWork, *, key: bytes, now: datetime) -> list[DueEndpoint]:
    """Return the active endpoints that have due deliveries and no pause, with their signers."""
    rows = await uow.session.execute(LIST_DUE, {"now": now})
    return [
        DueEndpoint(
            id=row.id,
            url=row.url,
            signers=_signers(row.secrets, endpoint_id=row.id, key=key),
            is_failing=row.failing_since is not None,
            reads_messages=row.reads_messages,
        )
        for row in rows
    ]


def _signers(sealed: Sequence[bytes], *, endpoint_id: UUID, key: bytes) -> list[Webhook]:
    found = []
    for one in sealed:
        try:
            found.append(signer(one, endpoint_id=endpoint_id, key=key))
        except UnsealError:  # encrypted with another CRM_SECRET_KEY; the delivery reports it
            continue
    return found


# If an endpoint accepted a delivery, its failures and its pause are over, so both are cleared.
STORE_ARRIVALS = text("""
    UPDATE webhook_endpoint SET failing_since = NULL, held_until = NULL
     WHERE id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NULL
       AND (failing_since IS NOT NULL OR held_until IS NOT NULL)
""")

# Stores the time at which an endpoint began to fail, unless such a time is already stored.
STORE_FAILURES = text("""
    UPDATE webhook_endpoint SET failing_since = :now
     WHERE id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NULL AND failing_since IS NULL
""")

# Pauses endpoints until the given times, unless a later time is already stored.
PAUSE_ENDPOINTS = text("""
    UPDATE webhook_endpoint e SET held_until = h.until
      FROM unnest(CAST(:ids AS uuid[]), CAST(:untils AS timestamptz[])) AS h (id, until)
     WHERE e.id = h.id AND e.deleted_at IS NULL
       AND (e.held_until IS NULL OR e.held_until < h.until)
""")


async def record_responses(
    uow: UnitOfWork, answers: EndpointResponses, *, disable_after: timedelta, now: datetime
) -> None:
    """Store how endpoints responded; disable those that sent 410 or have failed for too long.

    An endpoint that was deleted during its request does not change, and no alert is raised about
    it.

    Args:
        disable_after: How long an endpoint may fail without any success before it is disabled.
    """
    if answers.arrived:
        await uow.session.execute(STORE_ARRIVALS, {"ids": list(answers.arrived)})
    if answers.holds:
        values = {"ids": list(answers.holds), "untils": list(answers.holds.values())}
        await uow.session.execute(PAUSE_ENDPOINTS, values)
    if answers.failed:
        await uow.session.execute(STORE_FAILURES, {"ids": list(answers.failed), "now": now})
    for reason, endpoint_ids, failing_before in (
        (DisabledReason.GONE, answers.gone, None),
        (DisabledReason.FAILING, answers.failed - answers.gone, now - disable_after),
    ):
        if endpoint_ids:
            disabled = await _disable_endpoints(
                uow.session,
                endpoint_ids=endpoint_ids,
                reason=reason,
                failing_before=failing_before,
                now=now,
            )
            for endpoint in disabled:
                await _alert(uow, endpoint, now=now)


async def _alert(uow: UnitOfWork, endpoint: WebhookEndpoint, *, now: datetime) -> None:
    if endpoint.disabled_reason == DisabledReason.GONE:
        why = "responded with status 410 (Gone)"
    else:
        why = f"has accepted nothing since {endpoint.failing_since:%Y-%m-%d %H:%M} UTC"
    await alerts.raise_alert(
        uow,
        kind=DISABLED_ALERT,
        subject=str(endpoint.id),
        detail=f"The webhook endpoint {endpoint.url} {why}. It was disabled and gets no more "
        f"events. See its responses at GET /v1/webhook-endpoints/{endpoint.id}/deliveries, fix it, "
        f"then enable it with POST /v1/webhook-endpoints/{endpoint.id}/enable. To send the failed "
        f"deliveries again, use POST /v1/webhook-endpoints/{endpoint.id}/deliveries/retry. If the "
        "endpoint is no longer needed, delete it.",
        context={"endpoint_id": str(endpoint.id), "reason": endpoint.disabled_reason},
        now=now,
    )


# Deletes the old secrets of endpoints after their grace period has ended.
REMOVE_EXPIRED = text("DELETE FROM webhook_secret WHERE expires_at <= :now RETURNING id")

# Deletes endpoints that are marked as deleted and have no deliveries left.
REMOVE_DELETED = text("""
    DELETE FROM webhook_endpoint e
     WHERE e.deleted_at IS NOT NULL
       AND NOT EXISTS (SELECT FROM webhook_delivery d WHERE d.endpoint_id = e.id)
    RETURNING id
""")


async def forget_deleted_endpoints(uow: UnitOfWork, *, now: datetime) -> int:
    """Delete the rows of expired secrets and of deleted endpoints; return the number of rows.

    An endpoint that still has deliveries keeps its row.
    """
    expired = (await uow.session.execute(REMOVE_EXPIRED, {"now": now})).all()
    deleted = (await uow.session.execute(REMOVE_DELETED)).all()
    return len(expired) + len(deleted)


async def _disable_endpoints(
    session: AsyncSession,
    *,
    endpoint_ids: Collection[UUID],
    reason: DisabledReason,
    failing_before: datetime | None,
    now: datetime,
) -> Sequence[WebhookEndpoint]:
    """Disable endpoints and return them.

    Only active endpoints in ``endpoint_ids`` that are not deleted are disabled. If
    ``failing_before`` is not None, an endpoint is disabled only if its failures began before this
    time.
    """
    statement = update(WebhookEndpoint).where(
        WebhookEndpoint.id.in_(endpoint_ids),
        WebhookEndpoint.status == EndpointStatus.ACTIVE,
        WebhookEndpoint.deleted_at.is_(None),
    )
    if failing_before is not None:
        statement = statement.where(WebhookEndpoint.failing_since < failing_before)
    disabled = await session.scalars(
        statement.values(
            status=EndpointStatus.DISABLED,
            disabled_reason=reason,
            disabled_at=now,
            updated_at=now,
        ).returning(WebhookEndpoint),
        execution_options={"populate_existing": True},
    )
    return disabled.all()

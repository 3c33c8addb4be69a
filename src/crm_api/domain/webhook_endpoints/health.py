"""Whether endpoints still answer: noted after each batch of tries, and what follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from standardwebhooks import Webhook

from crm_api.db import UnitOfWork
from crm_api.domain.operations import service as operations
from crm_api.domain.sealing import UnsealError
from crm_api.domain.webhook_endpoints import health_queries as queries
from crm_api.domain.webhook_endpoints.models import DisabledReason, WebhookEndpoint
from crm_api.domain.webhook_endpoints.secrets import signer
from crm_api.domain.webhook_endpoints.service import DISABLED_ALERT


@dataclass(frozen=True, kw_only=True)
class DueEndpoint:
    """An endpoint for which something is due.

    Attributes:
        signers: The current secret's first; empty when none can be read.
        is_failing: Its last try failed.
    """

    id: UUID
    url: str
    signers: Sequence[Webhook] = field(repr=False)
    is_failing: bool


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How endpoints answered in a batch of tries.

    Attributes:
        arrived: A message or more arrived there.
        failed: None did.
        gone: They answered 410.
        holds: They asked to be left alone until then.
    """

    arrived: frozenset[UUID] = frozenset()
    failed: frozenset[UUID] = frozenset()
    gone: frozenset[UUID] = frozenset()
    holds: Mapping[UUID, datetime] = field(default_factory=dict)


async def list_due(uow: UnitOfWork, *, key: bytes, now: datetime) -> list[DueEndpoint]:
    """List the endpoints for which something is due, with what signs for them."""
    return [
        DueEndpoint(
            id=row.id,
            url=row.url,
            signers=_signers(row.secrets, endpoint_id=row.id, key=key),
            is_failing=row.failing_since is not None,
        )
        for row in await queries.list_due(uow.session, now=now)
    ]


def _signers(sealed: Sequence[bytes], *, endpoint_id: UUID, key: bytes) -> list[Webhook]:
    found = []
    for one in sealed:
        try:
            found.append(signer(one, endpoint_id=endpoint_id, key=key))
        except UnsealError:  # under another CRM_SECRET_KEY; the delivery tells
            continue
    return found


async def note(
    uow: UnitOfWork, answers: Answers, *, disable_after: timedelta, now: datetime
) -> None:
    """Note how endpoints answered; disable those that are gone, or fail for too long.

    Args:
        disable_after: So long without a message that arrived, while others failed.
    """
    if answers.arrived:
        await queries.note_arrived(uow.session, endpoint_ids=answers.arrived)
    if answers.holds:
        await queries.hold(uow.session, holds=answers.holds)
    if answers.failed:
        await queries.note_failed(uow.session, endpoint_ids=answers.failed, now=now)
    for reason, endpoint_ids, failing_before in (
        (DisabledReason.GONE, answers.gone, None),
        (DisabledReason.FAILING, answers.failed - answers.gone, now - disable_after),
    ):
        if endpoint_ids:
            disabled = await queries.disable(
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
        why = "answered 410 Gone"
    else:
        why = f"has taken nothing since {endpoint.failing_since:%Y-%m-%d %H:%M} UTC"
    await operations.raise_alert(
        uow,
        kind=DISABLED_ALERT,
        subject=str(endpoint.id),
        detail=f"The webhook endpoint {endpoint.url} {why} and is disabled: it is told nothing "
        f"more. See GET /v1/webhook-endpoints/{endpoint.id}/deliveries for its answers, put it "
        f"right, then POST /v1/webhook-endpoints/{endpoint.id}/enable; what failed is sent again "
        f"by POST /v1/webhook-endpoints/{endpoint.id}/deliveries/retry. If nobody needs it, "
        "delete it.",
        context={"endpoint_id": str(endpoint.id), "reason": endpoint.disabled_reason},
        now=now,
    )


async def clean_up(uow: UnitOfWork, *, now: datetime) -> int:
    """Remove secrets whose grace is over, and deleted endpoints whose history is gone."""
    expired = await queries.remove_expired(uow.session, now=now)
    return expired + await queries.remove_deleted(uow.session)

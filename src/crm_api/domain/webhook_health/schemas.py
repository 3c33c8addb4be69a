"""Orders and answers about webhook health."""

from typing import Any

from crm_api.domain.schemas import Id, Instant, PageRead, ReadModel, RequestModel
from crm_api.domain.webhook_health.models import CheckStatus, Side


class WebhookHealthCheckCreate(RequestModel):
    """From which side to look; left out, by a test text."""

    side: Side = Side.TEST_TEXT


class WebhookHealthCheckRead(ReadModel):
    """One look at whether the provider's events reach us.

    Attributes:
        side: ``test_text`` (between two own lines), ``silence``, or ``provider`` (its webhooks and
            its log of deliveries).
        sent_at: When the test text left.
        received_at: When its event came in.
        leg: Where it failed, in a word.
        failure: The same in a sentence, with what to do.
    """

    id: Id
    side: Side
    status: CheckStatus
    asked_by: str
    created_at: Instant
    sent_at: Instant | None
    received_at: Instant | None
    latency_ms: int | None
    concluded_at: Instant | None
    leg: str | None
    failure: str | None
    evidence: dict[str, Any]


class SideRead(ReadModel):
    """How one side stands; without a conclusion yet, ``status`` is null."""

    side: Side
    is_on: bool
    status: CheckStatus | None
    failure: str | None
    concluded_at: Instant | None
    off_because: str | None = None


class WebhookHealthRead(ReadModel):
    """How webhooks do, from all sides: ``ok`` or ``degraded``."""

    status: str
    sides: list[SideRead]


class WebhookHealthPage(PageRead[WebhookHealthCheckRead]):
    """The checks, newest first, and what they come to."""

    health: WebhookHealthRead

"""Requests and responses about webhook health."""

from typing import Any

from crm_api.domain.inbound.webhook_health.models import CheckStatus, WebhookHealthSide
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, PageRead, ReadModel, RequestModel


class WebhookHealthCheckCreate(RequestModel):
    """The kind of check to order; a test message by default.

    Attributes:
        side: The way that is checked.
    """

    model_config = example()

    side: WebhookHealthSide = WebhookHealthSide.TEST_TEXT


class WebhookHealthCheckRead(ReadModel):
    """One check of whether the provider's events arrive.

    Attributes:
        side: ``test_text`` (a message between two own lines), ``silence``, or ``provider`` (its
            webhooks and its delivery log).
        asked_by: The API key or the user who asked for the check; null for a scheduled one.
        sent_at: When the test message left.
        received_at: When its event arrived.
        latency_ms: Milliseconds from sending to receiving; null until received.
        concluded_at: When the check got its result; null until then.
        leg: Where it failed, in one word.
        failure: The same as a sentence, with what to do.
        evidence: The facts that the check found.
    """

    model_config = example(status="passed", asked_by="olga@granite.example.com", latency_ms=820)

    id: Id
    side: WebhookHealthSide
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


class WebhookHealthSideRead(ReadModel):
    """State of one kind of check; without a result yet, ``status`` is null.

    Attributes:
        side: The way that is checked.
        is_on: Whether the check is on.
        failure: Why the check failed; null otherwise.
        concluded_at: When the check got its result; null until then.
        off_because: Why the check is off; null while it is on.
    """

    model_config = example(is_on=True, status="passed")

    side: WebhookHealthSide
    is_on: bool
    status: CheckStatus | None
    failure: str | None
    concluded_at: Instant | None
    off_because: str | None = None


class WebhookHealthRead(ReadModel):
    """State of the webhooks over all kinds of checks: ``ok`` or ``degraded``.

    Attributes:
        sides: The result of each way.
    """

    model_config = example(status="ok")

    status: str
    sides: list[WebhookHealthSideRead]


class WebhookHealthPage(PageRead[WebhookHealthCheckRead]):
    """The checks, newest first, and the state that results from them.

    Attributes:
        health: The result of the last checks.
    """

    health: WebhookHealthRead

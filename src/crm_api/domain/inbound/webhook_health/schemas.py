"""Requests and responses about webhook health checks."""

from typing import Any

from crm_api.domain.inbound.webhook_health.models import CheckStatus, WebhookHealthSide
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, PageRead, ReadModel, RequestModel


class WebhookHealthCheckCreate(RequestModel):
    """The webhook health check to start.

    Attributes:
        side: The kind of check; a test message by default.
    """

    model_config = example()

    side: WebhookHealthSide = WebhookHealthSide.TEST_TEXT


class WebhookHealthCheckRead(ReadModel):
    """One check of whether the provider's events arrive.

    Attributes:
        side: The kind of check: ``test_text`` (a message between two lines of the company),
            ``silence`` (the time since the last event), or ``provider`` (webhooks and delivery
            log).
        status: The state of the check.
        asked_by: The API key or user who started the check, or ``schedule``.
        sent_at: When the test message was sent; null if it was not sent.
        received_at: When the event of the test message arrived; null until then.
        latency_ms: The milliseconds from the sending of the test message to the arrival of the
            event; null until then.
        concluded_at: When the check got its result; null until then.
        leg: The step that failed, in one word; null if the check did not fail.
        failure: Why the check failed and what to do; null if it did not fail.
        evidence: The facts on which the result is based.
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
    """The last result of one kind of check.

    Attributes:
        side: The kind of check: ``test_text`` (a message between two lines of the company),
            ``silence`` (the time since the last event), or ``provider`` (webhooks and delivery
            log).
        is_on: Whether the settings allow this kind of check.
        status: The last result, ``passed`` or ``failed``; null without a result, or if this kind of
            check is off.
        failure: Why the last check failed; null if it did not fail.
        concluded_at: When the last check got its result; null without a result.
        off_because: Why this kind of check is off; null while it is on.
    """

    model_config = example(is_on=True, status="passed")

    side: WebhookHealthSide
    is_on: bool
    status: CheckStatus | None
    failure: str | None
    concluded_at: Instant | None
    off_because: str | None = None


class WebhookHealthRead(ReadModel):
    """The state of the webhooks, and the last result of each kind of check.

    Attributes:
        status: ``degraded`` if at least one of the results in ``sides`` is ``failed``, otherwise
            ``ok``.
        sides: The last result of each kind of check.
    """

    model_config = example(status="ok")

    status: str
    sides: list[WebhookHealthSideRead]


class WebhookHealthPage(PageRead[WebhookHealthCheckRead]):
    """One page of the checks, newest first, and the present state of the webhooks.

    Attributes:
        health: The state of the webhooks, and the last result of each kind of check.
    """

    health: WebhookHealthRead

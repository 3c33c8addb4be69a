"""Requests and responses about deliveries."""

from typing import Any

from pydantic import Field, StrictBool

from crm_api.domain.kit.examples import CONTACT, example
from crm_api.domain.kit.fields import Line200, RequestInstant
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.outbound.webhook_deliveries.models import DeliveryStatus, WebhookDelivery


class WebhookDeliveryRead(ReadModel):
    """One event to one endpoint, and its result.

    Attributes:
        id: Also the ``webhook-id`` header, at each try.
        happened_at: When the event happened.
        data: As sent.
        attempts: Tries that ended, since it was created or sent again on request.
        next_attempt_at: Null when it is not retried any more.
        last_attempt_at: The time of the last attempt; null before the first one.
        duration_ms: How long it took, in milliseconds.
        response_status: The HTTP status of the endpoint's answer; null without an answer.
        response_body: Beginning of the last answer.
        error_code: Of the last try: ``http_500``, ``timeout`` …; null when it arrived.
        delivered_at: When it was delivered; null until then.
    """

    model_config = example(
        type="opt_out",
        data={"contact_id": CONTACT},
        status="delivered",
        next_attempt_at=None,
        duration_ms=41,
        response_status=204,
        response_body="",
        delivered_at="2026-11-30T14:05:15.000Z",
    )

    id: Id
    endpoint_id: Id
    type: str
    happened_at: Instant
    data: dict[str, Any]
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Instant | None
    last_attempt_at: Instant | None
    duration_ms: int | None
    response_status: int | None
    response_body: str | None
    error_code: str | None
    last_error: str | None
    created_at: Instant
    delivered_at: Instant | None

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> "WebhookDeliveryRead":
        """Build it from a row."""
        read = cls.model_validate(delivery)
        is_over = read.status is not DeliveryStatus.PENDING
        return read.model_copy(update={"next_attempt_at": None}) if is_over else read


class DeliveriesRetry(RequestModel):
    """Which deliveries of an endpoint to send again; all given conditions must hold.

    Attributes:
        status: ``failed`` by default; null means all.
        created_after: Created later than this instant.
        dry_run: Only count them.
    """

    model_config = example(created_after="2026-11-29T00:00:00Z", dry_run=True)

    status: DeliveryStatus | None = DeliveryStatus.FAILED
    type: Line200 | None = None
    created_after: RequestInstant | None = None
    dry_run: StrictBool = Field(default=False, description="Only count them.")


class DeliveriesRetried(ReadModel):
    """How many deliveries were selected, and how many of them are sent again.

    Attributes:
        matched: The number of items that match the selection.
        retried: The number of items that are tried again.
    """

    model_config = example(matched=12, retried=12)

    matched: int
    retried: int
    dry_run: bool

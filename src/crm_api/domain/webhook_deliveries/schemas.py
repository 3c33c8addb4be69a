"""Deliveries in and out."""

from typing import Any

from pydantic import Field, StrictBool

from crm_api.domain.fields import Line200, RequestInstant
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.webhook_deliveries.models import DeliveryStatus, WebhookDelivery


class WebhookDeliveryRead(ReadModel):
    """One message to one endpoint, and what became of it.

    Attributes:
        id: Also the ``webhook-id`` of the message, at each try.
        data: As it is sent.
        attempts: Tries that ended, since it was made or asked for again.
        next_attempt_at: Null when it is not tried any more.
        response_body: The beginning of the last answer.
        error_code: Of the last try: ``http_500``, ``timeout`` …; null when it arrived.
    """

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
    """Which deliveries of an endpoint are sent again; all that is given must hold.

    Attributes:
        status: Those that failed, unless told; null is all.
        dry_run: Only count them.
    """

    status: DeliveryStatus | None = DeliveryStatus.FAILED
    type: Line200 | None = None
    created_after: RequestInstant | None = None
    dry_run: StrictBool = Field(default=False, description="Only count them.")


class DeliveriesRetried(ReadModel):
    """How many deliveries were selected, and how many of them are sent again."""

    matched: int
    retried: int
    dry_run: bool

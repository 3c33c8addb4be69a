"""Requests and responses about webhook deliveries."""

from typing import Any

from pydantic import Field, StrictBool

from crm_api.domain.kit.examples import CONTACT, example
from crm_api.domain.kit.fields import Line200, RequestInstant
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.outbound.webhook_deliveries.models import DeliveryStatus, WebhookDelivery


class WebhookDeliveryRead(ReadModel):
    """The delivery of one event to one endpoint, and its result.

    Attributes:
        id: The id of the delivery, also the header ``webhook-id`` of each attempt.
        type: The type of the event.
        happened_at: When the event happened.
        data: The stored data of the event.
        status: The state of the delivery.
        attempts: The number of ended attempts. A requested retry sets the number to 0.
        next_attempt_at: When the next attempt is due; null if none is planned.
        last_attempt_at: When the last attempt was made; null before the first one.
        duration_ms: The milliseconds of the last attempt; null before the first one.
        response_status: The HTTP status of the last attempt; null if no response.
        response_body: The beginning of the response to the last attempt; null if none.
        error_code: The error code of the last attempt, such as ``timeout``; null if it succeeded.
        last_error: The error of the last attempt, as a sentence; null if it succeeded.
        delivered_at: When the endpoint accepted the delivery; null until then.
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
        """Create the response from a row; only a pending delivery has a ``next_attempt_at``."""
        read = cls.model_validate(delivery)
        is_over = read.status is not DeliveryStatus.PENDING
        return read.model_copy(update={"next_attempt_at": None}) if is_over else read


class DeliveriesRetry(RequestModel):
    """Which deliveries of an endpoint to send again. A delivery must match all given fields.

    Attributes:
        status: Only deliveries in this status; ``failed`` by default. Null allows every status.
        type: Only deliveries of events of this type.
        created_after: Only deliveries created at this time or later.
        dry_run: True to only count the deliveries.
    """

    model_config = example(created_after="2026-11-29T00:00:00Z", dry_run=True)

    status: DeliveryStatus | None = DeliveryStatus.FAILED
    type: Line200 | None = None
    created_after: RequestInstant | None = None
    dry_run: StrictBool = Field(
        default=False, description="True to only count the deliveries and send nothing."
    )


class DeliveriesRetried(ReadModel):
    """How many deliveries were selected, and how many of them are sent again.

    Attributes:
        matched: The number of deliveries that match the selection.
        retried: The number of deliveries that are sent again; 0 in a dry run.
        dry_run: True if the deliveries were only counted.
    """

    model_config = example(matched=12, retried=12)

    matched: int
    retried: int
    dry_run: bool

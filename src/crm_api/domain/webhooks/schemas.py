"""Answers about received events."""

from typing import Any

from crm_api.domain.schemas import Id, Instant, ReadModel
from crm_api.domain.webhooks.models import WebhookEventStatus


class WebhookEventRead(ReadModel):
    """One received event, with all that the provider sent."""

    id: Id
    provider_event_id: str
    type: str
    status: WebhookEventStatus
    attempts: int
    next_attempt_at: Instant | None
    last_error: str | None
    received_at: Instant
    processed_at: Instant | None
    payload: dict[str, Any]


class ReplayRead(ReadModel):
    """How many events will be applied again."""

    replayed: int

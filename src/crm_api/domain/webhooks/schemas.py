"""Answers about received events."""

from typing import Any, Self

from crm_api.domain.schemas import Id, Instant, ReadModel
from crm_api.domain.webhooks.models import WAITING, WebhookEvent, WebhookEventStatus


class WebhookEventRead(ReadModel):
    """One received event, with all that the provider sent.

    Attributes:
        next_attempt_at: Null when nothing more is going to be done about it.
    """

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

    @classmethod
    def of(cls, event: WebhookEvent) -> Self:
        """Build it from a row."""
        read = cls.model_validate(event)
        return read if event.status in WAITING else read.model_copy(update=_NOTHING_TO_COME)


_NOTHING_TO_COME = {"next_attempt_at": None}


class ReplayRead(ReadModel):
    """How many events will be applied again."""

    replayed: int

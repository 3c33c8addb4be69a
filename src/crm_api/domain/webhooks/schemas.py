"""Answers about received events."""

from typing import Any, Literal, Self
from uuid import UUID

from pydantic import Field, StrictBool

from crm_api.domain.fields import Line200, RequestInstant
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.webhooks.models import WAITING, WebhookEvent, WebhookEventStatus
from crm_api.domain.webhooks.queries import Selection


class Received(ReadModel):
    """The event is stored."""

    received: Literal[True]


class WebhookEventRead(ReadModel):
    """One received event, with all that the provider sent.

    Attributes:
        next_attempt_at: Null when nothing more is going to be done about it.
        error_code: The class of its error, until it is applied.
    """

    id: Id
    provider_event_id: str
    type: str
    status: WebhookEventStatus
    attempts: int
    next_attempt_at: Instant | None
    last_error: str | None
    error_code: str | None
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


class ReplayRequest(RequestModel):
    """Which events: all that is given must hold; with nothing given, all events.

    Attributes:
        dry_run: Only count them.
    """

    status: WebhookEventStatus | None = None
    type: Line200 | None = None
    error_code: Line200 | None = None
    received_after: RequestInstant | None = None
    ids: list[UUID] | None = Field(default=None, max_length=1000)
    dry_run: StrictBool = False

    def selection(self) -> Selection:
        """Say it in the ledger's words."""
        return Selection(
            status=self.status,
            type=self.type,
            error_code=self.error_code,
            received_after=self.received_after,
            ids=self.ids,
        )


class SelectionReplayRead(ReadModel):
    """How many events were selected, and how many of them will be applied again."""

    matched: int
    replayed: int
    dry_run: bool


class ErrorClassRead(ReadModel):
    """Events that failed alike and are not applied yet.

    Attributes:
        dead: How many of them are not tried again by themselves.
        first_seen_at: When the first of them came in.
        last_error: Of the one that came last.
    """

    error_code: str
    events: int
    dead: int
    types: list[str]
    first_seen_at: Instant
    last_seen_at: Instant
    last_error: str | None

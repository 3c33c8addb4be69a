"""Requests and responses about received events."""

from typing import Any, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.inbound.webhook_events.models import WAITING, WebhookEvent, WebhookEventStatus
from crm_api.domain.inbound.webhook_events.stored_events import EventSelection
from crm_api.domain.kit.dry_runs import DryRunRead, DryRunRequest
from crm_api.domain.kit.examples import REPLY, example
from crm_api.domain.kit.fields import Line200, RequestInstant
from crm_api.domain.kit.schemas import Id, Instant, ReadModel


class Received(ReadModel):
    """The event is stored.

    Attributes:
        received: Whether the event was stored.
    """

    received: Literal[True]


class WebhookEventRead(ReadModel):
    """One received event, with everything that the provider sent.

    Attributes:
        provider_event_id: The id of the event at the provider.
        attempts: The number of attempts so far.
        next_attempt_at: Null when the event needs no more work.
        error_code: The class of its error, until the event is applied.
        received_at: When it was received; null until then.
        processed_at: When the event was applied; null until then.
        payload: The event as it was received.
    """

    model_config = example(
        provider_event_id="EV78473da9296247d3d87a620dc9b58621",
        type="message.received",
        status="processed",
        next_attempt_at=None,
        payload={
            "id": "EV78473da9296247d3d87a620dc9b58621",
            "type": "message.received",
            "data": {"object": {"from": "+16175550123", "body": REPLY}},
        },
    )

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
    """How many events will be applied again.

    Attributes:
        replayed: The number of events that are applied again.
    """

    model_config = example(replayed=1)

    replayed: int


class ReplayRequest(DryRunRequest):
    """A choice of events: all given conditions must hold; or ``all`` of them.

    Attributes:
        all: Every event; excludes other conditions.
        received_after: Received later than this instant.
        ids: Only the items with these ids.
    """

    model_config = example(status="dead", type="message.received", dry_run=True)

    all: Literal[True] | None = None
    status: WebhookEventStatus | None = None
    type: Line200 | None = None
    error_code: Line200 | None = None
    received_after: RequestInstant | None = None
    ids: list[UUID] | None = Field(default=None, max_length=1000)

    @model_validator(mode="after")
    def _chosen(self) -> Self:
        choice = (self.status, self.type, self.error_code, self.received_after, self.ids)
        is_chosen = any(one is not None for one in choice)
        if self.all and is_chosen:
            raise PydanticCustomError(
                "selection", 'Give either `"all": true` or what the events have in common.'
            )
        if not (is_chosen or self.all or self.dry_run):
            raise PydanticCustomError(
                "selection",
                "Say which events: give `status`, `type`, `error_code`, `received_after` or `ids`, "
                'or `"all": true` for every event.',
            )
        return self

    def content(self) -> Any:  # noqa: ANN401 - JSON
        """Return the selection; a dry run that chooses nothing counts all events."""
        return super().content() or {"all": True}

    def selection(self) -> EventSelection:
        """Return it as a selection of stored events."""
        return EventSelection(
            status=self.status,
            type=self.type,
            error_code=self.error_code,
            received_after=self.received_after,
            ids=self.ids,
        )


class SelectionReplayRead(DryRunRead):
    """How many events were selected, and how many of them will be applied again.

    Attributes:
        matched: The number of items that match the selection.
        replayed: The number of events that are applied again.
    """

    model_config = example(token=None, matched=3, replayed=3)

    matched: int
    replayed: int
    dry_run: bool = Field(description="True when the events were only counted.")


class ErrorClassRead(ReadModel):
    """Events with the same error code that are not applied yet.

    Attributes:
        events: The number of events.
        dead: How many of them are not retried automatically.
        types: The types of the events.
        first_seen_at: When the first of them was received.
        last_seen_at: When it was last seen.
        last_error: That of the newest event.
    """

    model_config = example(
        error_code="line_unknown",
        events=3,
        types=["message.received"],
        last_error="The event is for a line that is not known here.",
    )

    error_code: str
    events: int
    dead: int
    types: list[str]
    first_seen_at: Instant
    last_seen_at: Instant
    last_error: str | None

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
    """The response to a delivery that was received.

    Attributes:
        received: Always true, because the event was stored.
    """

    received: Literal[True]


class WebhookEventRead(ReadModel):
    """One received event, with everything that the provider sent.

    Attributes:
        provider_event_id: The id of the event at the provider.
        type: The provider's name of the event type.
        attempts: The number of attempts to apply the event. A replay sets it to 0.
        next_attempt_at: When the event is tried next; null if no further attempt is planned.
        last_error: The error of the last attempt, as a sentence; null if there was none, and after
            a replay.
        error_code: The code of the last error; null if there was none, or if the event has been
            applied. A replay keeps it.
        received_at: When the event was received.
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
        """Create the response from a row; ``next_attempt_at`` is null if no try is planned."""
        read = cls.model_validate(event)
        return read if event.status in WAITING else read.model_copy(update=_NOTHING_TO_COME)


_NOTHING_TO_COME = {"next_attempt_at": None}


class ReplayRead(ReadModel):
    """The response to a request to apply one event again.

    Attributes:
        replayed: The number of events that will be applied again. It is always 1.
    """

    model_config = example(replayed=1)

    replayed: int


class ReplayRequest(DryRunRequest):
    """Which events to apply again. An event is selected if it matches all given fields.

    Attributes:
        all: True selects every event. It cannot be combined with other fields.
        status: Only events in this status.
        type: Only events of this type.
        error_code: Only events whose last error has this code.
        received_after: Only events received after this time.
        ids: Only these events.
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
                "selection", 'Give either `"all": true` or other fields, but not both.'
            )
        if not (is_chosen or self.all or self.dry_run):
            raise PydanticCustomError(
                "selection",
                "The request selects no events. Give `status`, `type`, `error_code`, "
                '`received_after` or `ids`, or `"all": true` for every event.',
            )
        return self

    def content(self) -> Any:  # noqa: ANN401 - JSON
        """Return the fields that select events, as JSON values.

        A dry run without these fields selects all events, and the result is ``{"all": true}``. A
        request that is not a dry run must have at least one of them.
        """
        return super().content() or {"all": True}

    def selection(self) -> EventSelection:
        """Convert the request into a selection of stored events."""
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
        matched: The number of events that match the selection.
        replayed: The number of events that will be applied again; 0 in a dry run.
    """

    model_config = example(token=None, matched=3, replayed=3)

    matched: int
    replayed: int
    dry_run: bool = Field(description="True if the events were only counted.")

"""Requests and responses about runs of the reconciliation."""

from typing import Annotated, Any

from crm_api.domain.inbound.reconciliation.models import RunStatus, Trigger
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import RequestInstant
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary


class ReconciliationCreate(RequestModel):
    """The span to compare; by default from the end of the last complete run until now.

    Attributes:
        since: The start of the compared period.
        until: The end of the compared period; now by default.
    """

    model_config = example(since="2026-11-29T00:00:00Z")

    since: RequestInstant | None = None
    until: RequestInstant | None = None


class ReconciliationRead(ReadModel):
    """One run; the counters count messages and calls only.

    ``since`` is null when the run has no lower bound. ``drift`` has the differences by kind:
    ``created``, ``corrected``, ``unknown_here``, ``unknown_there``, each with its ``count`` and
    some ``examples``.

    Attributes:
        since: The start of the compared period.
        until: The end of the compared period.
        pages_done: The number of pages that were read.
        items_seen: The number of messages and calls that were read.
        created: The number of items that were created.
        updated: The number of items that were changed.
        already_known: The number of messages and calls that were already known.
        errors: The number of messages and calls that could not be read.
        drift: The differences between the data here and at the provider.
    """

    model_config = example(
        trigger="manual",
        status="completed",
        since="2026-11-29T00:00:00.000Z",
        pages_done=4,
        items_seen=180,
        created=1,
        updated=2,
        already_known=177,
    )

    id: Id
    trigger: Annotated[str, Vocabulary(Trigger, "ReconciliationTrigger")]
    status: Annotated[str, Vocabulary(RunStatus, "ReconciliationRunStatus")]
    since: Instant | None
    until: Instant
    pages_done: int
    items_seen: int
    created: int
    updated: int
    already_known: int
    errors: int
    drift: dict[str, Any]
    last_error: str | None
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None

"""Requests and responses about reconciliation runs."""

from typing import Annotated, Any

from crm_api.domain.inbound.reconciliation.models import RunStatus, Trigger
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import RequestInstant
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary


class ReconciliationCreate(RequestModel):
    """A request to compare our messages and calls in a time span with the provider's data.

    Attributes:
        since: The start of the span. Default: no start if nothing was compared. If the compared
            period ends before ``until``: 24 hours before its end. If not: 24 hours before
            ``until``.
        until: The end of the span. Default: now. Future times count as now.
    """

    model_config = example(since="2026-11-29T00:00:00Z")

    since: RequestInstant | None = None
    until: RequestInstant | None = None


class ReconciliationRead(ReadModel):
    """One comparison of the stored messages and calls with those at the provider.

    Attributes:
        trigger: Why the run was created.
        since: The start of the compared time span; null if the span has no start.
        until: The end of the compared time span.
        pages_done: The number of pages that were read from the provider's lists.
        items_seen: The number of messages and calls that were read.
        created: The number of messages and calls that were missing here and are stored now.
        updated: The number of messages and calls whose outdated status was corrected.
        already_known: The number of messages and calls that were already stored correctly.
        errors: The number of messages and calls that could not be stored.
        drift: The differences by kind, each with ``count`` and some ``examples``. ``created``:
            missing here, stored now. ``corrected``: outdated here, corrected now. ``unknown_here``:
            could not be stored here. ``unknown_there``: stored here, not listed by the provider.
        last_error: The last error of the run, as a sentence; null if there was none.
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

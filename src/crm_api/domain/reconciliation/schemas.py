"""Runs of the reconciliation as the API takes and shows them."""

from typing import Any

from crm_api.domain.fields import RequestInstant
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel


class ReconciliationCreate(RequestModel):
    """What to compare; left out: from where the last complete run ended, until now."""

    since: RequestInstant | None = None
    until: RequestInstant | None = None


class ReconciliationRead(ReadModel):
    """One run; the counters count messages and calls only.

    ``since`` is null when it begins at the beginning. ``drift`` names what differed, by kind:
    ``created``, ``corrected``, ``unknown_here``, ``unknown_there``, each with its ``count`` and
    some ``examples``.
    """

    id: Id
    trigger: str
    status: str
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

"""What can go wrong with runs of the reconciliation."""

from crm_api.domain.errors import ConflictError, InvalidError, NotFoundError


class ReconciliationRunNotFoundError(NotFoundError):
    """No run has this id."""

    code = "reconciliation_run_not_found"
    title = "Reconciliation run not found"


class EmptySpanError(InvalidError):
    """A run would end before it begins."""

    code = "empty_span"
    title = "Nothing lies between since and until"


class RunLostError(ConflictError):
    """Somebody else goes on with the run: what was not written yet must not be."""

    code = "reconciliation_run_lost"
    title = "Reconciliation run is somebody else's by now"

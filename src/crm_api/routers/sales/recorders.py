"""Find out who records an outcome: a user, or a system with an API key."""

from crm_api.domain.sales.outcomes.models import OutcomeSource
from crm_api.domain.sales.outcomes.state_outcomes import Recorder
from crm_api.routers.http.deps import AppState, Caller


def recorder_of(caller: Caller, state: AppState) -> Recorder:
    """Return the caller, a user or a system with an API key, as a ``Recorder`` of outcomes.

    For example, a request that marks an invoice as paid records an outcome.
    """
    source = OutcomeSource.API if caller.user is None else OutcomeSource.PERSON
    return Recorder(name=caller.name, source=source, secret=state.secret)

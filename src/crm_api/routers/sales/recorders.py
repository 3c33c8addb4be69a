"""Who records the outcomes of a request."""

from crm_api.domain.sales.outcomes.models import OutcomeSource
from crm_api.domain.sales.outcomes.state_outcomes import Recorder
from crm_api.routers.http.deps import AppState, Caller


def recorder_of(caller: Caller, state: AppState) -> Recorder:
    """Return who records the outcomes of a request: a user, or another system."""
    source = OutcomeSource.API if caller.user is None else OutcomeSource.PERSON
    return Recorder(name=caller.name, source=source, secret=state.secret)

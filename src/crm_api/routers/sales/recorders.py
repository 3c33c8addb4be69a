"""Find out who records an outcome, such as a quote: a user, or a system with an API key."""

from crm_api.domain.sales.outcomes.models import OutcomeSource
from crm_api.domain.sales.outcomes.state_outcomes import Recorder
from crm_api.routers.http.deps import AppState, Caller


def recorder_of(caller: Caller, state: AppState) -> Recorder:
    """Return who records the outcomes (such as a quote) that a request causes.

    This is the caller of the request: a user, or a system with an API key.
    """
    source = OutcomeSource.API if caller.user is None else OutcomeSource.PERSON
    return Recorder(name=caller.name, source=source, secret=state.secret)

"""Which moves a campaign may make; the one place that knows.

draft ─start─► scheduled ─(due)─► running ─(all done)─► completed
                   │   ▲            │  ▲
                 pause │          pause │
                   ▼ resume         ▼ resume
                      paused ◄──────┘     blocked ─resume─► running
scheduled, running, paused, blocked ─cancel─► cancelled
"""

from enum import StrEnum

from crm_api.domain.campaigns.errors import InvalidTransitionError
from crm_api.domain.campaigns.models import CampaignStatus


class Action(StrEnum):
    """What a person may ask of a campaign."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


SOURCES: dict[Action, tuple[CampaignStatus, ...]] = {
    Action.START: (CampaignStatus.DRAFT,),
    Action.PAUSE: (CampaignStatus.SCHEDULED, CampaignStatus.RUNNING),
    Action.RESUME: (CampaignStatus.PAUSED, CampaignStatus.BLOCKED),
    Action.CANCEL: (
        CampaignStatus.SCHEDULED,
        CampaignStatus.RUNNING,
        CampaignStatus.PAUSED,
        CampaignStatus.BLOCKED,
    ),
}
"""From which statuses each action is possible."""

LIVE = frozenset(
    {
        CampaignStatus.SCHEDULED,
        CampaignStatus.RUNNING,
        CampaignStatus.PAUSED,
        CampaignStatus.BLOCKED,
    }
)
"""Started and not over: its recipients may still get a text."""

FINISHED = frozenset({CampaignStatus.COMPLETED, CampaignStatus.CANCELLED})
"""Over; nothing leaves these."""


def allowed(current: str) -> list[str]:
    """Return the actions that a campaign of this status allows, in a fixed order."""
    return [action.value for action, sources in SOURCES.items() if current in sources]


def require(current: str, action: Action) -> None:
    """Refuse an action that the status does not allow.

    Raises:
        InvalidTransitionError: With what is allowed instead.
    """
    if current not in SOURCES[action]:
        raise InvalidTransitionError(action.value, status=current, allowed=allowed(current))


def is_live(current: str) -> bool:
    """Tell whether the campaign is started and not over."""
    return current in LIVE


def is_editable(current: str) -> bool:
    """Tell whether content may change and the campaign be removed."""
    return current == CampaignStatus.DRAFT

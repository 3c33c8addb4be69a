"""Parts of the model: the time, the line, and accepted messages."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from tests.properties.campaign import Campaign, local_day
from tests.properties.people import Person
from tests.properties.plans import LinePlan
from tests.properties.provider import SentMessage


class MovedClock:
    """A clock that moves only when the test moves it."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def move(self, by: timedelta) -> None:
        """Move the clock forward."""
        self.at += by

    def move_to(self, at: datetime) -> None:
        """Move the clock to an instant, rounded up to a whole second; never move it back."""
        whole = at.replace(microsecond=0)
        self.at = max(self.at, whole if whole == at else whole + timedelta(seconds=1))


@dataclass
class Accepted:
    """A campaign message that the provider has accepted.

    Attributes:
        is_recorded: At the end of the last step, an attempt had the id of the message.
    """

    message: SentMessage
    person: Person
    campaign: Campaign
    step: int
    is_recorded: bool = False

    @property
    def phone(self) -> str:
        return self.message.phone

    @property
    def at(self) -> datetime:
        return self.message.at

    @property
    def key(self) -> tuple[int, int, UUID]:
        """Key that may occur only once: a step of a campaign to a person, at any of the numbers."""
        return (self.campaign.number, self.step, self.person.contact_id)


@dataclass
class Line:
    """The line that sends; ``ramp_day`` is the day of its first message under a ramp plan.

    The ramp plan gives smaller limits for the first days.
    """

    id: UUID
    plan: LinePlan
    daily_limit: int
    ramp_day: date | None = None
    blocked_until: datetime | None = None

    def limit_on(self, at: datetime) -> int:
        """Return how many messages the line may send on the day of an instant."""
        if self.plan.ramp is None:
            return self.daily_limit
        today = local_day(at, self.plan.timezone)
        day = (today - (self.ramp_day or today)).days
        planned = self.plan.ramp[day] if day < len(self.plan.ramp) else self.daily_limit
        return min(planned, self.daily_limit)

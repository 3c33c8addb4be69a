"""A campaign in the model: its plan, and the decisions about it."""

import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.properties.people import Person, is_between
from tests.properties.plans import DAYS, RECIPIENT, Plan

_TAG = re.compile(r"Granite c(\d+) ([vf])(\d+):")

QUARTER = timedelta(minutes=15)
"""All windows and legal hours begin and end at a multiple of a quarter of an hour."""
SEARCHED = 4 * 24 * 3
NEARLY = timedelta(seconds=45)


@dataclass
class Campaign:
    """The plan of a campaign, and its state after the acts of users.

    Attributes:
        number: Identifies the campaign in its messages.
        status: ``on``, ``paused`` or ``cancelled``, as users set it; the service may also pause it.
        ended: Contacts who replied or called, and may therefore get no follow-up.
        approved: Contacts that a user approved in review.
    """

    number: int
    plan: Plan
    id: UUID
    made_at: datetime
    status: str = "on"
    ended: set[UUID] = field(default_factory=set)
    approved: set[UUID] = field(default_factory=set)

    @property
    def start_at(self) -> datetime:
        """Earliest instant at which the campaign may send."""
        return self.made_at + (self.plan.starts_in or timedelta(0))

    @property
    def end_at(self) -> datetime | None:
        """Latest instant at which the campaign may send; None if it has no end."""
        return None if self.plan.ends_in is None else self.made_at + self.plan.ends_in

    def zones(self, person: Person, *, line_timezone: str) -> tuple[str, ...]:
        """Return the time zones in which the days and the window apply to a person."""
        if self.plan.timezone == RECIPIENT:
            return person.kind.zones
        return (self.plan.timezone or line_timezone,)

    def is_open(self, person: Person, at: datetime, *, line_timezone: str) -> bool:
        """Return True if the campaign's days and window allow a message to a person at ``at``."""
        for zone in self.zones(person, line_timezone=line_timezone):
            local = at.astimezone(ZoneInfo(zone))
            if DAYS[local.weekday()] not in self.plan.days:
                return False
            if not is_between(local.time(), *self.plan.window):
                return False
        return True

    def edge(
        self, person: Person, now: datetime, *, line_timezone: str, skip: bool
    ) -> datetime | None:
        """Return the next instant at which the hours of a person begin or end.

        Return None if there is no such instant in three days.

        Args:
            skip: Return the second such instant.
        """
        at = now.replace(minute=0, second=0, microsecond=0)
        was_open: bool | None = None
        for _ in range(SEARCHED):
            at += QUARTER
            is_open = person.is_lawful(at) and self.is_open(person, at, line_timezone=line_timezone)
            if was_open is not None and is_open is not was_open and at > now + NEARLY:
                if not skip:
                    return at
                skip = False
            was_open = is_open
        return None


def body_of(number: int, *, variant: int) -> str:
    """Return the first body of a campaign, which contains the number of the campaign."""
    return f"Granite c{number} v{variant}: hello {{{{ first_name }}}}. Reply STOP to opt out."


def follow_up_of(number: int, *, step: int) -> str:
    """Return the body of a follow-up, which contains the campaign's number and the step."""
    return f"Granite c{number} f{step}: still there? Reply STOP to opt out."


def read_tag(body: str) -> tuple[int, int] | None:
    """Return the campaign's number and the step from a body; None if the body has no number."""
    found = _TAG.match(body)
    if found is None:
        return None
    return int(found[1]), int(found[3]) if found[2] == "f" else 0


def local_day(at: datetime, zone: str) -> date:
    """Return the calendar day of an instant in a time zone."""
    return at.astimezone(ZoneInfo(zone)).date()

"""A campaign as the model knows it: its plan, and what people have decided about it."""

import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.properties.people import Person, is_between
from tests.properties.plans import DAYS, RECIPIENT, Plan

_TAG = re.compile(r"Granite c(\d+) ([vf])(\d+):")

QUARTER = timedelta(minutes=15)
"""All hours begin and end at one."""
SEARCHED = 4 * 24 * 3
NEARLY = timedelta(seconds=45)


@dataclass
class Campaign:
    """What was asked for, and where it stands by what people did.

    Attributes:
        number: By which its texts name it.
        status: ``on``, ``paused`` or ``cancelled``; rules of the service may hold it besides.
        ended: Contacts who answered or called, so that no follow-up may come.
        approved: Contacts whom a person let through in review.
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
        """When it may begin."""
        return self.made_at + (self.plan.starts_in or timedelta(0))

    @property
    def end_at(self) -> datetime | None:
        """When it must be over."""
        return None if self.plan.ends_in is None else self.made_at + self.plan.ends_in

    def zones(self, person: Person, *, line_timezone: str) -> tuple[str, ...]:
        """Return the zones in which its days and window are read, for somebody."""
        if self.plan.timezone == RECIPIENT:
            return person.kind.zones
        return (self.plan.timezone or line_timezone,)

    def is_open(self, person: Person, at: datetime, *, line_timezone: str) -> bool:
        """Tell whether its own days and window allow a text to somebody at an instant."""
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
        """Return the next instant at which somebody's hours begin or end; with ``skip`` the second.

        None when there is none in three days.
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
    """Write the first text of a campaign; every text names its campaign and its step."""
    return f"Granite c{number} v{variant}: hello {{{{ first_name }}}}. Reply STOP to opt out."


def follow_up_of(number: int, *, step: int) -> str:
    """Write a follow-up."""
    return f"Granite c{number} f{step}: still there? Reply STOP to opt out."


def read_tag(body: str) -> tuple[int, int] | None:
    """Return number and step of the campaign that a text is of; None when it is of none."""
    found = _TAG.match(body)
    if found is None:
        return None
    return int(found[1]), int(found[3]) if found[2] == "f" else 0


def local_day(at: datetime, zone: str) -> date:
    """Return the calendar day of an instant in a zone."""
    return at.astimezone(ZoneInfo(zone)).date()

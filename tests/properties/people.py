"""People with their states and time zones, and the legal hours there, written by hand.

This module does not use the service's own tables. Each kind of person has the states and time zones
that the service must find for the person. The hours are those of the rules for the United States,
for the few states that these people have.
"""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

EASTERN, CENTRAL, MOUNTAIN = "America/New_York", "America/Chicago", "America/Denver"
ARIZONA, PACIFIC, HAWAII = "America/Phoenix", "America/Los_Angeles", "Pacific/Honolulu"
ANYWHERE = (
    EASTERN,
    CENTRAL,
    MOUNTAIN,
    ARIZONA,
    PACIFIC,
    "America/Anchorage",
    HAWAII,
)
HOLIDAYS = frozenset(
    date.fromisoformat(day)
    for day in [
        "2026-10-12",
        "2026-11-11",
        "2026-11-26",
        "2026-12-25",
        "2027-01-01",
        "2027-01-18",
        "2027-02-15",
        "2027-05-31",
        "2027-06-18",
        "2027-07-05",
        "2027-09-06",
        "2027-10-11",
        "2027-11-11",
        "2027-11-25",
        "2027-12-24",
        "2027-12-31",
    ]
)
SATURDAY, SUNDAY = 5, 6

Hours = tuple[time, time]
EIGHT_TO_EIGHT, EIGHT_TO_NINE = (time(8), time(20)), (time(8), time(21))
NINE_TO_NINE = (time(9), time(21))


@dataclass(frozen=True)
class Law:
    """The legal hours of a state for each kind of day.

    None means that no message may be sent on the day.
    """

    weekdays: Hours
    saturday: Hours
    sunday: Hours | None
    is_closed_on_holidays: bool = False


COUNTRY = "country"
ANY_STATE = "any"
"""A person with an unknown state, for whom the rules of all states count."""
LAW = {
    COUNTRY: Law(EIGHT_TO_NINE, EIGHT_TO_NINE, EIGHT_TO_NINE),
    "AZ": Law(EIGHT_TO_NINE, EIGHT_TO_NINE, EIGHT_TO_NINE),
    "MA": Law(EIGHT_TO_EIGHT, EIGHT_TO_EIGHT, EIGHT_TO_EIGHT),
    "FL": Law(EIGHT_TO_EIGHT, EIGHT_TO_EIGHT, EIGHT_TO_EIGHT),
    "RI": Law((time(9), time(18)), (time(10), time(17)), (time(10), time(17))),
    "AL": Law(EIGHT_TO_EIGHT, EIGHT_TO_EIGHT, None, is_closed_on_holidays=True),
    "TX": Law(NINE_TO_NINE, NINE_TO_NINE, (time(12), time(21))),
    "CA": Law(NINE_TO_NINE, NINE_TO_NINE, NINE_TO_NINE),
    ANY_STATE: Law((time(10), time(18)), (time(10), time(17)), None, is_closed_on_holidays=True),
}
CAPPED_STATES = frozenset({"FL", ANY_STATE})
STATE_CAP = (3, timedelta(hours=24))


@dataclass(frozen=True)
class Kind:
    """A kind of person: stored fields, and the states and time zones that the service must use."""

    name: str
    area_code: str
    states: tuple[str, ...]
    zones: tuple[str, ...]
    state: str | None = None
    postal_code: str | None = None
    timezone: str | None = None

    @property
    def by_number_only(self) -> "Kind":
        """The kind of the same person if the service knows only the number."""
        return next(kind for kind in BY_NUMBER if kind.area_code == self.area_code)


_ALL_KINDS = (
    Kind("Boston", "617", ("MA",), (EASTERN,)),
    Kind("Miami", "305", ("FL",), (EASTERN,), state="FL", postal_code="33101"),
    Kind("Los Angeles", "310", ("CA",), (PACIFIC,)),
    Kind("Providence", "401", ("RI",), (EASTERN,)),
    Kind("Birmingham", "205", ("AL",), (CENTRAL,)),
    Kind("Phoenix", "602", ("AZ",), (ARIZONA,)),
    Kind("El Paso", "915", ("TX",), (MOUNTAIN,)),
    Kind("somewhere in Texas", "214", ("TX",), (CENTRAL, MOUNTAIN), state="TX"),
    Kind("the Panhandle", "850", ("FL",), (EASTERN, CENTRAL)),
    Kind("moved west", "617", ("CA", "MA"), (EASTERN, PACIFIC), state="CA", postal_code="90001"),
    Kind("travels", "617", ("MA",), (PACIFIC,), timezone=PACIFIC),
    Kind("anywhere", "800", (ANY_STATE,), ANYWHERE),
)
KINDS = {kind.name: kind for kind in _ALL_KINDS}
BY_NUMBER = (
    Kind("a 305 number", "305", ("FL",), (EASTERN,)),
    Kind("a 214 number", "214", ("TX",), (CENTRAL,)),
    *(kind for kind in _ALL_KINDS if not (kind.state or kind.timezone)),
)


@dataclass(frozen=True)
class Decision:
    """A decision about messages to a number.

    Attributes:
        word: ``in``, ``doubt`` or ``out``.
        is_written: The person wrote the decision; otherwise a user decided.
    """

    at: datetime
    word: str
    is_written: bool

    def order(self) -> tuple[datetime, bool, int]:
        """Return the key by which decisions are sorted.

        Of decisions at one instant, those that the person wrote come first, by strictness, because
        their order is unknown. Decisions of users come after them.
        """
        strictness = ("in", "doubt", "out").index(self.word)
        return self.at, not self.is_written, strictness if self.is_written else 0


@dataclass
class Person:
    """A person who may get messages.

    Attributes:
        numbers: All numbers of the person, oldest first; the last number is the present one.
        has_written: The person has written to the line from the present number.
        own_word_opt_outs: How often the person opted out in other words than STOP. Each such
            opt-out gets one confirmation.
        do_not_contact_until: End of a ``do_not_contact`` flag.
        words: Decisions about messages, by the person or by users.
    """

    kind: Kind
    numbers: list[str]
    contact_id: UUID
    is_deleted: bool = False
    has_written: bool = False
    own_word_opt_outs: int = 0
    do_not_contact_until: datetime | None = None
    words: list[Decision] = field(default_factory=list)

    @property
    def phone(self) -> str:
        """The present number of the person."""
        return self.numbers[-1]

    def change_number(self, phone: str) -> None:
        """Give the person another number, about which no decision exists yet."""
        self.numbers.append(phone)
        self.words, self.do_not_contact_until = [], None
        self.has_written, self.own_word_opt_outs = False, 0

    @property
    def consent_state(self) -> str:
        """The state after all decisions in their order: ``free``, ``out`` or ``held``."""
        consent_state = "free"
        for decision in sorted(self.words, key=Decision.order):
            if decision.word == "out":
                consent_state = "out"
            elif decision.word == "in":
                consent_state = "free"
            elif consent_state != "out":
                consent_state = "held"
        return consent_state

    def move_to(self, zone: str) -> None:
        """Set the person's time zone; the known states do not change."""
        self.kind = replace(self.kind, timezone=zone, zones=(zone,))

    def move_west(self) -> None:
        """Give the person an address in Los Angeles; the state of the number still counts too.

        A time zone that was set does not change. A deleted person is created again and loses this
        time zone.
        """
        number = self.kind.by_number_only
        self.create_again()
        timezone = self.kind.timezone
        is_known = number.states != (ANY_STATE,)
        states = {"CA", *(number.states if is_known else ())}
        zones = {PACIFIC, *(number.zones if is_known else ())}
        self.kind = replace(
            self.kind, states=tuple(states), zones=(timezone,) if timezone else tuple(zones)
        )

    def create_again(self) -> None:
        """Create a deleted contact again; the service then knows only the number."""
        if self.is_deleted:
            self.is_deleted = False
            self.kind = self.kind.by_number_only

    def is_lawful(self, at: datetime, *, phone: str | None = None) -> bool:
        """Return True if the law allows a message to the person at an instant.

        Args:
            phone: The number of the message; None is the present number. A former number belongs to
                no contact, so only its area code decides.
        """
        is_former = phone is not None and phone != self.phone
        kind = self.kind.by_number_only if is_former else self.kind
        for zone in kind.zones:
            local = at.astimezone(ZoneInfo(zone))
            for state in (COUNTRY, *kind.states):
                hours = legal_hours(state, local.date())
                if hours is None or not is_between(local.time(), *hours):
                    return False
        return True

    @property
    def cap(self) -> tuple[int, timedelta] | None:
        """Most campaign messages in a period, by the law of the person's state; None: no limit."""
        return None if CAPPED_STATES.isdisjoint(self.kind.states) else STATE_CAP


def legal_hours(state: str, day: date) -> Hours | None:
    """Return the legal hours of a state on a day; None if no message may be sent on the day."""
    law = LAW[state]
    if law.is_closed_on_holidays and day in HOLIDAYS:
        return None
    return {SATURDAY: law.saturday, SUNDAY: law.sunday}.get(day.weekday(), law.weekdays)


def is_between(at: time, start: time, end: time) -> bool:
    """Return True if a time of day is in a window; an end of 23:59 means midnight."""
    return start <= at and (at < end or end >= time(23, 59))

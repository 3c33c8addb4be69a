"""One rule, as a file of rules states it and as the API shows it."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from crm_api.domain import places
from crm_api.domain.fields import ClockTime
from crm_api.domain.windows import DAYS

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVERY_DAY: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


IsoDate = Annotated[date, Field(strict=True)]
"""``YYYY-MM-DD``, and no number that could be taken for one."""


class RuleKind(StrEnum):
    """What a rule says.

    Attributes:
        WINDOW: Texts only between ``start`` and ``end`` on its weekdays.
        NO_DAY: None at all on its weekdays.
        HOLIDAY: None on federal holidays, nor on the days on which they are observed.
        FREQUENCY: At most ``max_texts`` to a number in ``per_hours``.
        DUTY: Told only: something that the program does elsewhere or that its operator must do.
    """

    WINDOW = "window"
    NO_DAY = "no_day"
    HOLIDAY = "holiday"
    FREQUENCY = "frequency"
    DUTY = "duty"


_NEEDS = {
    RuleKind.WINDOW: {"start", "end"},
    RuleKind.FREQUENCY: {"max_texts", "per_hours"},
    RuleKind.DUTY: {"note"},
}
_BELONGS = {"start", "end", "max_texts", "per_hours"}


def _known_state(code: str) -> str:
    if code not in places.STATE_ZONES:
        raise PydanticCustomError("unknown_state", "takes a state's two letters, or null")
    return code


def _in_order(days: tuple[Day, ...]) -> tuple[Day, ...]:
    return tuple(day for day in EVERY_DAY if day in days)


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{message}", {"message": message})


class Rule(BaseModel):
    """One rule for one state, or for all.

    Attributes:
        state: Two letters; null is federal and holds everywhere.
        weekdays: For ``window`` and ``no_day``, at the recipient; other days it leaves alone.
        effective_from: The first local day on which it is in force; null is always.
        effective_until: The last one; null is no end.
        source: Null when none is known; such a rule is never ``verified``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: Annotated[str, AfterValidator(_known_state)] | None
    kind: RuleKind
    weekdays: Annotated[tuple[Day, ...], Field(min_length=1), AfterValidator(_in_order)] = EVERY_DAY
    start: ClockTime | None = None
    end: ClockTime | None = None
    max_texts: Annotated[int, Field(ge=1, strict=True)] | None = None
    per_hours: Annotated[int, Field(ge=1, le=24 * 366, strict=True)] | None = None
    effective_from: IsoDate | None = None
    effective_until: IsoDate | None = None
    source: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    verified: Annotated[bool, Field(strict=True)] = False
    reviewed: IsoDate
    note: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        """Refuse what the kind lacks and what it cannot mean."""
        needs = _NEEDS.get(self.kind, set())
        given = {name for name in _BELONGS | needs if getattr(self, name) is not None}
        for name in sorted(needs - given):
            raise _fault(f"{name} is needed for the kind {self.kind}")
        for name in sorted(given & _BELONGS - needs):
            raise _fault(f"{name} does not go with the kind {self.kind}")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise _fault("end must be later than start")
        if self.effective_until and self.effective_until < (self.effective_from or date.min):
            raise _fault("effective_until must not be before effective_from")
        if self.weekdays != EVERY_DAY and self.kind not in {RuleKind.WINDOW, RuleKind.NO_DAY}:
            raise _fault(f"weekdays does not go with the kind {self.kind}")
        if self.verified and self.source is None:
            raise _fault("source is needed for a rule that is verified")
        return self

    def is_in_force(self, on: date) -> bool:
        """Tell whether the rule holds on a day at the recipient."""
        has_begun = self.effective_from is None or self.effective_from <= on
        return has_begun and (self.effective_until is None or on <= self.effective_until)


class RuleFile(BaseModel):
    """A file of rules; it takes the place of the shipped ones, wholly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _has_federal_window(self) -> Self:
        """Refuse a file that leaves some day open all round: only ``none`` may, and it says so."""
        everywhere = [rule for rule in self.rules if rule.state is None]
        kinds = {RuleKind.WINDOW, RuleKind.NO_DAY}
        limited = {day for rule in everywhere if rule.kind in kinds for day in rule.weekdays}
        open_days = [day for day in DAYS if day not in limited]
        if open_days:
            missing = ", ".join(open_days)
            raise _fault(
                f"rules take a window with state null for every day, but not for {missing}"
            )
        return self


class RulesRead(BaseModel):
    """The rules in force on a day.

    Attributes:
        rule_set: ``us``, ``none``, or ``file`` for a file of the operator's.
        file: The name of that file, without its folder.
    """

    on: date
    rule_set: Literal["us", "none", "file"]
    file: str | None
    data: tuple[Rule, ...]
    next_cursor: str | None = None

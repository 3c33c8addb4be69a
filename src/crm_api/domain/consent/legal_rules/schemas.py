"""Legal rules, as a rule file states them and as the API shows them."""

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

from crm_api.domain.kit import regions
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import ClockTime
from crm_api.domain.kit.schemas import DocumentedModel
from crm_api.domain.kit.windows import DAYS

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVERY_DAY: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


IsoDate = Annotated[date, Field(strict=True)]
"""``YYYY-MM-DD``; a number is refused."""


class ComplianceRuleKind(StrEnum):
    """What a rule says.

    Attributes:
        WINDOW: Messages only between ``start`` and ``end`` on its weekdays.
        NO_DAY: No messages on its weekdays.
        HOLIDAY: No messages on federal holidays and on the days on which they are observed.
        FREQUENCY: At most ``max_texts`` messages to a number in ``per_hours``.
        DUTY: Shown only: the program fulfils it elsewhere, or its operator must fulfil it.
    """

    WINDOW = "window"
    NO_DAY = "no_day"
    HOLIDAY = "holiday"
    FREQUENCY = "frequency"
    DUTY = "duty"


_NEEDS = {
    ComplianceRuleKind.WINDOW: {"start", "end"},
    ComplianceRuleKind.FREQUENCY: {"max_texts", "per_hours"},
    ComplianceRuleKind.DUTY: {"note"},
}
_BELONGS = {"start", "end", "max_texts", "per_hours"}


def _known_state(code: str) -> str:
    if code not in regions.STATE_ZONES:
        raise PydanticCustomError("unknown_state", "takes a state's two letters, or null")
    return code


def _in_order(days: tuple[Day, ...]) -> tuple[Day, ...]:
    return tuple(day for day in EVERY_DAY if day in days)


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{message}", {"message": message})


class ComplianceRule(DocumentedModel):
    """One rule for one state, or for all states.

    Attributes:
        state: Two letters; null for a federal rule, which applies everywhere.
        kind: The kind.
        weekdays: For ``window`` and ``no_day``: the recipient's local days that the rule limits.
        start: The time of day at which it begins.
        end: The time of day at which it ends.
        max_texts: The maximum number of messages to one phone number.
        per_hours: The period, in hours.
        effective_from: The first local day on which it is in force; null means always.
        effective_until: The last local day on which it is in force; null means no end.
        source: Null if none is known; such a rule is never ``verified``.
        verified: Whether the rule was checked against its source.
        reviewed: When the rule was checked against its source.
    """

    model_config = example(
        state=None,
        weekdays=["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        start="08:00",
        end="21:00",
        source="47 CFR 64.1200(c)(1)",
        verified=True,
        reviewed="2026-11-20",
    ) | {"frozen": True, "extra": "forbid"}

    state: Annotated[str, AfterValidator(_known_state)] | None
    kind: ComplianceRuleKind
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
        """Refuse missing fields, fields of other kinds, and impossible values."""
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
        if self.weekdays != EVERY_DAY and self.kind not in {
            ComplianceRuleKind.WINDOW,
            ComplianceRuleKind.NO_DAY,
        }:
            raise _fault(f"weekdays does not go with the kind {self.kind}")
        if self.verified and self.source is None:
            raise _fault("source is needed for a rule that is verified")
        return self

    def is_in_force(self, on: date) -> bool:
        """Return whether the rule is in force on a local day of the recipient."""
        has_begun = self.effective_from is None or self.effective_from <= on
        return has_begun and (self.effective_until is None or on <= self.effective_until)


class RuleFile(BaseModel):
    """A file of rules; it replaces all shipped rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[ComplianceRule, ...]

    @model_validator(mode="after")
    def _has_federal_window(self) -> Self:
        """Refuse a file without a federal limit for a weekday; only ``none`` may have none."""
        everywhere = [rule for rule in self.rules if rule.state is None]
        kinds = {ComplianceRuleKind.WINDOW, ComplianceRuleKind.NO_DAY}
        limited = {day for rule in everywhere if rule.kind in kinds for day in rule.weekdays}
        open_days = [day for day in DAYS if day not in limited]
        if open_days:
            missing = ", ".join(open_days)
            raise _fault(
                f"rules take a window with state null for every day, but not for {missing}"
            )
        return self


class ComplianceRulesRead(DocumentedModel):
    """The rules in force on a day.

    Attributes:
        on: The day whose rules are shown.
        rule_set: ``us``, ``none``, or ``file`` for the operator's own file.
        file: The name of that file, without its folder; null without one.
        data: The rules that are in force on the day.
        next_cursor: The cursor of the next page; null on the last page.
    """

    on: date
    rule_set: Literal["us", "none", "file"]
    file: str | None
    data: tuple[ComplianceRule, ...]
    next_cursor: str | None = None

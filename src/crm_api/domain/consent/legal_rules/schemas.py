"""The model of a legal rule, in a rule file and in the API."""

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
from crm_api.domain.kit.windows import DAYS, Day

IsoDate = Annotated[date, Field(strict=True)]
"""A date as ``YYYY-MM-DD``. Numbers are refused, although pydantic would accept them as dates."""


class ComplianceRuleKind(StrEnum):
    """What a legal rule demands.

    Attributes:
        WINDOW: On the rule's weekdays, messages may be sent only between ``start`` and ``end``.
        NO_DAY: On the rule's weekdays, no messages may be sent.
        HOLIDAY: No messages may be sent on federal holidays, or on the days of their observance.
        FREQUENCY: A phone number may get at most ``max_texts`` messages in ``per_hours`` hours.
        DUTY: A duty that is only shown. Another part of the service, or the operator, must fulfil
            it.
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
        raise PydanticCustomError(
            "unknown_state", "must be the two letters of a state, or null for a federal rule"
        )
    return code


def _in_order(days: tuple[Day, ...]) -> tuple[Day, ...]:
    return tuple(day for day in DAYS if day in days)


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{message}", {"message": message})


class ComplianceRule(DocumentedModel):
    """A legal rule of one state, or a federal rule for all states.

    Attributes:
        state: The two letters of the state; null for a federal rule.
        kind: What the rule demands.
        weekdays: For ``window`` and ``no_day``: the weekdays of the rule, in the recipient's local
            time.
        start: For ``window``: the local time from which messages may be sent.
        end: For ``window``: the local time until which messages may be sent.
        max_texts: For ``frequency``: the most messages to a phone number in ``per_hours`` hours.
        per_hours: For ``frequency``: the length of the period in hours.
        effective_from: The first local day on which the rule is in force; null if there is no first
            day.
        effective_until: The last local day on which the rule is in force; null if there is no last
            day.
        source: The law, such as a section of a code; null if it is not known.
        verified: True if the rule was checked against its source.
        reviewed: The day of the last review.
        note: An explanation of the rule.
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
    weekdays: Annotated[tuple[Day, ...], Field(min_length=1), AfterValidator(_in_order)] = DAYS
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
        """Check that the rule has exactly the fields of its kind, and that their values fit.

        Raises:
            PydanticCustomError: A field is missing, belongs to another kind, or is impossible.
        """
        needs = _NEEDS.get(self.kind, set())
        given = {name for name in _BELONGS | needs if getattr(self, name) is not None}
        for name in sorted(needs - given):
            raise _fault(f"{name} is required for a rule of the kind {self.kind}")
        for name in sorted(given & _BELONGS - needs):
            raise _fault(f"{name} is not allowed for a rule of the kind {self.kind}")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise _fault("end must be later than start")
        if self.effective_until and self.effective_until < (self.effective_from or date.min):
            raise _fault("effective_until must not be before effective_from")
        if self.weekdays != DAYS and self.kind not in {
            ComplianceRuleKind.WINDOW,
            ComplianceRuleKind.NO_DAY,
        }:
            raise _fault(f"weekdays is not allowed for a rule of the kind {self.kind}")
        if self.verified and self.source is None:
            raise _fault("source is required for a verified rule")
        return self

    def is_in_force(self, on: date) -> bool:
        """Return whether the rule is in force on a local day of the recipient."""
        has_begun = self.effective_from is None or self.effective_from <= on
        return has_begun and (self.effective_until is None or on <= self.effective_until)


class RuleFile(BaseModel):
    """The content of a rule file. An operator's own file replaces all shipped rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[ComplianceRule, ...]

    @model_validator(mode="after")
    def _has_federal_window(self) -> Self:
        """Check that each weekday has a federal rule that limits the hours.

        So a mistake in the file cannot allow messages at all hours. To have no limits, set
        ``CRM_COMPLIANCE_RULES`` to ``none``.
        """
        everywhere = [rule for rule in self.rules if rule.state is None]
        kinds = {ComplianceRuleKind.WINDOW, ComplianceRuleKind.NO_DAY}
        limited = {day for rule in everywhere if rule.kind in kinds for day in rule.weekdays}
        open_days = [day for day in DAYS if day not in limited]
        if open_days:
            missing = ", ".join(open_days)
            raise _fault(
                f"rules must have a rule of the kind window or no_day with state null for each "
                f"weekday; there is none for {missing}"
            )
        return self


class ComplianceRulesRead(DocumentedModel):
    """The legal rules that are in force on a day.

    Attributes:
        on: The requested day.
        rule_set: ``us`` for the shipped rules, ``none`` for no rules, ``file`` for the operator's
            file.
        file: The name of the operator's file, without its folder; null for other rule sets.
        data: The rules that are in force on the day.
        next_cursor: Always null, because all rules are on one page.
    """

    on: date
    rule_set: Literal["us", "none", "file"]
    file: str | None
    data: tuple[ComplianceRule, ...]
    next_cursor: str | None = None

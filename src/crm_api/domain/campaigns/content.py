"""A campaign's content as its columns, and the faults that need no database to find."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from crm_api.domain.campaigns.errors import InvalidCampaignError
from crm_api.domain.campaigns.models import Campaign, CampaignVariant, PacingMode
from crm_api.domain.campaigns.schemas import CampaignCreate, CampaignUpdate, Variant
from crm_api.domain.campaigns.template import MAX_TEXT, check, with_footer
from crm_api.domain.errors import FieldProblem
from crm_api.domain.lines.models import Line

Columns = dict[str, Any]

_FULL_SHARE = 100
START_SLACK = timedelta(minutes=5)
"""A start that is named as "now" may be so old by the time it is read."""


@dataclass(frozen=True, kw_only=True)
class CampaignDetail:
    """A campaign with what its reader needs beside it."""

    campaign: Campaign
    variants: list[CampaignVariant]
    line: Line


_DIRECT = ("name", "line_id", "ab_test", "follow_ups")
_GROUPS = ("schedule", "pacing", "rules")
_RENAMED = {"mode": "pacing_mode"}


def columns_of(body: CampaignCreate | CampaignUpdate, *, only_given: bool) -> Columns:
    """Lay a request out as columns of ``campaign``; the variants are not among them.

    Args:
        body: The request.
        only_given: Leave out what the request leaves out, also inside the groups, instead of
            filling in defaults.
    """
    given = body.model_dump(exclude_unset=only_given)
    columns: Columns = {name: given[name] for name in _DIRECT if name in given}
    if body.audience is not None:
        columns["audience"] = body.audience.model_dump(mode="json", exclude_none=True)
    for group in _GROUPS:
        for name, value in given.get(group, {}).items():
            if name == "window":
                columns |= {f"window_{edge}": at for edge, at in value.items()}
            else:
                columns[_RENAMED.get(name, name)] = value
    return columns


def present_columns(campaign: Campaign) -> Columns:
    """Return the columns of a campaign that a request can change."""
    names = columns_of(_EXAMPLE, only_given=False)
    return {name: getattr(campaign, name) for name in names}


def faults(columns: Columns, variants: list[Variant]) -> list[FieldProblem]:
    """Find what is wrong with a campaign as a whole, before any look into the database."""
    return [
        *_variant_faults(variants, columns["opt_out_footer"]),
        *_follow_up_faults(columns["follow_ups"], columns["opt_out_footer"]),
        *_schedule_faults(columns),
        *_pacing_faults(columns),
    ]


def refuse(problems: list[FieldProblem]) -> None:
    """Refuse a campaign that has faults.

    Raises:
        InvalidCampaignError: There is at least one.
    """
    if problems:
        raise InvalidCampaignError(problems)


def _variant_faults(variants: list[Variant], footer: str | None) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    total = sum(variant.weight for variant in variants)
    if total != _FULL_SHARE:
        detail = f"The weights add up to {total}; make it {_FULL_SHARE}."
        problems.append(FieldProblem(pointer="/variants", code="weights", detail=detail))
    names: set[str] = set()
    for position, variant in enumerate(variants):
        pointer = f"/variants/{position}/body"
        if variant.name in names:
            problems.append(
                FieldProblem(
                    pointer=f"/variants/{position}/name",
                    code="duplicate_name",
                    detail="Another variant has this name.",
                )
            )
        names.add(variant.name)
        problems += _body_faults(variant.body, footer, pointer=pointer)
    return problems


def _follow_up_faults(follow_ups: list[Columns], footer: str | None) -> list[FieldProblem]:
    return [
        problem
        for position, follow_up in enumerate(follow_ups)
        for problem in _body_faults(
            follow_up["body"], footer, pointer=f"/follow_ups/{position}/body"
        )
    ]


def _body_faults(body: str, footer: str | None, *, pointer: str) -> list[FieldProblem]:
    problems = check(body, pointer=pointer)
    length = len(with_footer(body, footer))
    if length > MAX_TEXT:
        detail = f"With the footer the text has {length} characters; {MAX_TEXT} can be sent."
        problems.append(FieldProblem(pointer=pointer, code="string_too_long", detail=detail))
    return problems


def _schedule_faults(columns: Columns) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    start: time = columns["window_start"]
    end: time = columns["window_end"]
    if start >= end:
        detail = "The window must end later in the day than it starts."
        problems.append(FieldProblem(pointer="/schedule/window", code="window", detail=detail))
    start_at: datetime | None = columns["start_at"]
    end_at: datetime | None = columns["end_at"]
    if start_at is not None and end_at is not None and end_at <= start_at:
        detail = "end_at must be later than start_at."
        problems.append(FieldProblem(pointer="/schedule/end_at", code="end_at", detail=detail))
    return problems


def date_faults(columns: Columns, *, now: datetime) -> list[FieldProblem]:
    """Find the dates that have passed; columns that are left out have none."""
    problems: list[FieldProblem] = []
    start_at: datetime | None = columns.get("start_at")
    end_at: datetime | None = columns.get("end_at")
    if start_at is not None and start_at < now - START_SLACK:
        detail = (
            "start_at has passed. Choose a later one, or null: then it begins once it is started."
        )
        problems.append(FieldProblem(pointer="/schedule/start_at", code="passed", detail=detail))
    if end_at is not None and end_at <= now:
        detail = "end_at has passed. Choose a later one, or null for no end."
        problems.append(FieldProblem(pointer="/schedule/end_at", code="passed", detail=detail))
    return problems


def _pacing_faults(columns: Columns) -> list[FieldProblem]:
    if columns["pacing_mode"] != PacingMode.BURST:
        return []
    return [
        FieldProblem(pointer=f"/pacing/{name}", code="missing", detail=f"Mode burst needs {name}.")
        for name in ("batch_size", "batch_interval_minutes")
        if columns[name] is None
    ]


_EXAMPLE = CampaignCreate.model_validate(
    {
        "name": "-",
        "line_id": "00000000-0000-0000-0000-000000000000",
        "audience": {"list_id": "00000000-0000-0000-0000-000000000000"},
        "variants": [{"name": "-", "body": "-", "weight": 100}],
    }
)
"""Has every column that a request can set, so that their names stand in one place."""

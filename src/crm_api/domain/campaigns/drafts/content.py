"""Convert a campaign request to column values, and find faults without reading the database."""

from datetime import datetime, time, timedelta
from typing import Any

from crm_api.domain.campaigns.errors import InvalidCampaignError
from crm_api.domain.campaigns.models import Campaign, CampaignKind, PacingMode
from crm_api.domain.campaigns.schemas import CampaignCreate, CampaignUpdate, FollowUp, Variant
from crm_api.domain.campaigns.templates.template_text import (
    MAX_TEXT,
    append_footer,
    find_template_faults,
)
from crm_api.domain.kit.errors import FieldProblem

Columns = dict[str, Any]

_FULL_SHARE = 100
START_SLACK = timedelta(minutes=5)
"""How far in the past a ``start_at`` may be. A client may send its present time as ``start_at``.
When the request arrives, this time has already passed."""


_DIRECT = ("name", "line_id", "kind", "ab_test", "follow_ups")
_GROUPS = ("schedule", "pacing", "rules")
_RENAMED = {"mode": "pacing_mode"}


def columns_of_request(body: CampaignCreate | CampaignUpdate, *, only_given: bool) -> Columns:
    """Return the columns of the table ``campaign`` that a request sets, with their values.

    Variants are not included, because they have a table of their own.

    Args:
        only_given: True leaves out the fields that are not in the request; False gives them default
            values. The fields inside ``schedule``, ``pacing`` and ``rules`` follow the same rule.
    """
    given = body.model_dump(exclude_unset=only_given)
    columns: Columns = {name: given[name] for name in _DIRECT if name in given}
    if body.follow_ups is not None and "follow_ups" in given:
        columns["follow_ups"] = [_stored_follow_up(one) for one in body.follow_ups]
    if body.audience is not None:
        columns["audience"] = body.audience.model_dump(mode="json", exclude_none=True)
    for group in _GROUPS:
        for name, value in given.get(group, {}).items():
            if name == "window":
                columns |= {f"window_{edge}": at for edge, at in value.items()}
            else:
                columns[_RENAMED.get(name, name)] = value
    return columns


def _stored_follow_up(given: FollowUp) -> Columns:
    stored: Columns = {"after_hours": given.after_hours, "body": given.body}
    if given.template_id is not None:
        stored["template_id"] = str(given.template_id)
        stored["template_version"] = given.template_version
    return stored


def columns_of_campaign(campaign: Campaign) -> Columns:
    """Return the columns of a stored campaign that a request can set, with their values."""
    names = columns_of_request(_EXAMPLE, only_given=False)
    return {name: getattr(campaign, name) for name in names}


def find_faults(columns: Columns, variants: list[Variant]) -> list[FieldProblem]:
    """Return the faults of a campaign that can be found without the database."""
    return [
        *_variant_faults(variants, columns["opt_out_footer"]),
        *_known_faults(variants, columns["kind"]),
        *_follow_up_faults(columns["follow_ups"], columns["opt_out_footer"]),
        *_schedule_faults(columns),
        *_pacing_faults(columns),
    ]


def refuse_faults(problems: list[FieldProblem]) -> None:
    """Raise an error if ``problems`` lists any faults of a campaign.

    Raises:
        InvalidCampaignError: ``problems`` is not empty.
    """
    if problems:
        raise InvalidCampaignError(problems)


def _variant_faults(variants: list[Variant], footer: str | None) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    total = sum(variant.weight for variant in variants)
    if total != _FULL_SHARE:
        detail = f"The weights of the variants add up to {total}, but must add up to {_FULL_SHARE}."
        problems.append(FieldProblem(pointer="/variants", code="weights", detail=detail))
    names: set[str] = set()
    for position, variant in enumerate(variants):
        pointer = f"/variants/{position}/body"
        if variant.name in names:
            problems.append(
                FieldProblem(
                    pointer=f"/variants/{position}/name",
                    code="duplicate_name",
                    detail="Another variant has this name. Choose a different name.",
                )
            )
        names.add(variant.name)
        problems += _body_faults(variant.body, footer, pointer=pointer)
    return problems


def _known_faults(variants: list[Variant], kind: str) -> list[FieldProblem]:
    """Return the faults in the use of ``for_known``.

    ``for_known`` marks the variant for people who were in touch with the company before.
    """
    known = [position for position, variant in enumerate(variants) if variant.for_known]
    if kind != CampaignKind.MIXED:
        return [
            FieldProblem(
                pointer=f"/variants/{position}/for_known",
                code="not_mixed",
                detail="Only a campaign of the kind mixed has a variant for people who were in "
                "touch before. Set `kind` to mixed, or leave `for_known` out.",
            )
            for position in known
        ]
    if len(known) != 1:
        detail = (
            "A mixed campaign needs exactly one variant with `for_known`, for people who were in "
            f"touch before, but has {len(known)}."
        )
        return [FieldProblem(pointer="/variants", code="known_variant", detail=detail)]
    if variants[known[0]].weight != 0:
        detail = (
            "The variant with `for_known` gets no share of the other people. Set its weight to 0."
        )
        pointer = f"/variants/{known[0]}/weight"
        return [FieldProblem(pointer=pointer, code="known_weight", detail=detail)]
    return []


def _follow_up_faults(follow_ups: list[Columns], footer: str | None) -> list[FieldProblem]:
    return [
        problem
        for position, follow_up in enumerate(follow_ups)
        for problem in _body_faults(
            follow_up["body"], footer, pointer=f"/follow_ups/{position}/body"
        )
    ]


def _body_faults(body: str, footer: str | None, *, pointer: str) -> list[FieldProblem]:
    problems = find_template_faults(body, pointer=pointer)
    length = len(append_footer(body, footer))
    if length > MAX_TEXT:
        detail = (
            f"The message has {length} characters with its footer, but the limit is {MAX_TEXT}. "
            "Shorten the body or `opt_out_footer`."
        )
        problems.append(FieldProblem(pointer=pointer, code="string_too_long", detail=detail))
    return problems


def _schedule_faults(columns: Columns) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    start: time = columns["window_start"]
    end: time = columns["window_end"]
    if start >= end:
        detail = "The window must end later in the day than it starts. Change start or end."
        problems.append(FieldProblem(pointer="/schedule/window", code="window", detail=detail))
    start_at: datetime | None = columns["start_at"]
    end_at: datetime | None = columns["end_at"]
    if start_at is not None and end_at is not None and end_at <= start_at:
        detail = "`end_at` must be later than `start_at`. Change one of them."
        problems.append(FieldProblem(pointer="/schedule/end_at", code="end_at", detail=detail))
    return problems


def find_date_faults(columns: Columns, *, now: datetime) -> list[FieldProblem]:
    """Return the faults of ``start_at`` and ``end_at``: a date in the past is a fault.

    A date that is None or not in ``columns`` has no fault. ``start_at`` may be up to
    ``START_SLACK`` in the past.
    """
    problems: list[FieldProblem] = []
    start_at: datetime | None = columns.get("start_at")
    end_at: datetime | None = columns.get("end_at")
    if start_at is not None and start_at < now - START_SLACK:
        detail = "`start_at` is in the past. Choose a later instant, or null for no start time."
        problems.append(FieldProblem(pointer="/schedule/start_at", code="passed", detail=detail))
    if end_at is not None and end_at <= now:
        detail = "`end_at` is in the past. Choose a later instant, or null for no end time."
        problems.append(FieldProblem(pointer="/schedule/end_at", code="passed", detail=detail))
    return problems


def _pacing_faults(columns: Columns) -> list[FieldProblem]:
    if columns["pacing_mode"] != PacingMode.BURST:
        return []
    return [
        FieldProblem(
            pointer=f"/pacing/{name}", code="missing", detail=f"The mode burst requires {name}."
        )
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
"""An example of a valid request. ``columns_of_campaign`` uses only its column names."""

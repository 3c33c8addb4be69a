"""The occurrences of a repeated campaign, and the columns with which they are stored.

A campaign with a recurrence is the first of its series. Each later occurrence is a separate
campaign: a draft with the content of the first campaign. Its ``start_at`` is the instant of the
occurrence.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.recurrence.rules import (
    LOOK_AHEAD,
    InvalidRuleError,
    RecurrenceRule,
)

DRAFTED_AHEAD = timedelta(days=14)
"""How long before its start an occurrence is drafted. So a series without an end has few drafts."""


def begins_at(campaign: Campaign) -> datetime:
    """Return the instant from which the occurrences of a repeated campaign are counted.

    This is ``start_at``. If the campaign has no ``start_at``, it is the beginning of the window on
    the day on which the campaign was created.
    """
    if campaign.start_at is not None:
        return campaign.start_at
    zone = _zone(campaign)
    day = campaign.created_at.astimezone(zone).date()
    return datetime.combine(day, campaign.window_start, zone).astimezone(UTC)


def occurrences(campaign: Campaign, *, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the occurrences of a repeated campaign after ``after`` and up to ``until``, in order.

    The first occurrence, which is the start of the campaign itself, is left out. Nothing is yielded
    if the series is paused, or if the rule is invalid.
    """
    if campaign.recurrence is None or campaign.recurrence["paused"]:
        return
    first = begins_at(campaign)
    try:
        rule = RecurrenceRule.parse(campaign.recurrence["rrule"])
        for at in rule.occurrences(begins=first, until=until, zone=_zone(campaign)):
            if at > first and at > after:
                yield at
    except InvalidRuleError:
        return


def next_occurrence(campaign: Campaign, *, after: datetime) -> datetime | None:
    """Return the first occurrence after an instant; None if the series ends or is paused."""
    return next(occurrences(campaign, after=after, until=after + LOOK_AHEAD), None)


def occurrence_columns(campaign: Campaign, at: datetime) -> dict[str, Any]:
    """Return the columns of an occurrence at ``at`` that are not copied from the first campaign.

    The first campaign of the series is ``campaign``. Its other content is copied without a change.
    """
    local = at.astimezone(_zone(campaign))
    first, end_at = begins_at(campaign), campaign.end_at
    suffix = f" ({local:%Y-%m-%d})"
    return {
        "name": campaign.name[: _LONGEST_NAME - len(suffix)] + suffix,
        "start_at": at,
        "end_at": None if end_at is None else at + (end_at - first),
        "series_id": campaign.id,
        "occurrence_at": at,
        "author_ids": campaign.author_ids,
    }


_LONGEST_NAME = 200


def _zone(campaign: Campaign) -> ZoneInfo:
    return ZoneInfo(campaign.recurrence["timezone"] if campaign.recurrence else "UTC")

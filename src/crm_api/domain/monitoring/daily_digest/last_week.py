"""Compute the figures of the last seven days for the digest mail, as ``GET /v1/insight`` does."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from crm_api.domain.insight.attribution.errors import CreditsNotComputedError
from crm_api.domain.insight.attribution.rules import find_rules
from crm_api.domain.insight.attribution.runs import fill_credits
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.figures import Figure, compute_figures
from crm_api.domain.insight.measures.registry import MEASURES
from crm_api.platform.database import UnitOfWork

DAYS = 7


@dataclass(frozen=True, kw_only=True)
class WeekFigures:
    """Figures of the seven days before the mail, as ``GET /v1/insight`` returns them.

    Attributes:
        since: The midnight at which the first day begins.
        until: The midnight at which the last day ends.
        revenue_attributed: The revenue that campaigns have earned. None until the service has
            computed which revenue came from campaigns.
    """

    since: datetime
    until: datetime
    messages: Figure
    reply_rate: Figure
    opt_out_rate: Figure
    appointments: Figure
    revenue: Figure
    revenue_attributed: Figure | None
    cost: Figure


async def read_week(uow: UnitOfWork, *, until: datetime, zone: str, now: datetime) -> WeekFigures:
    """Read the figures of the seven days before ``until``, which must be a midnight in ``zone``."""
    local = until.astimezone(ZoneInfo(zone))
    # Seven local days: in a week with a change of the clocks, this is an hour more or less.
    since = (local - timedelta(days=DAYS)).astimezone(UTC)
    rules = await find_rules(uow, version=None)
    request = FigureRequest(
        measure=MEASURES["messages"],
        since=since,
        until=until,
        zone=zone,
        rules_version=rules.version,
    )

    async def figure_of(measure: str) -> Figure:
        own = replace(request, measure=MEASURES[measure])
        return (await compute_figures(uow.session, own, now=now)).total

    attributed = None
    try:
        await fill_credits(uow, rules, now=now)
        attributed = await figure_of("revenue_attributed")
    except CreditsNotComputedError:
        pass
    return WeekFigures(
        since=since,
        until=until,
        messages=await figure_of("messages"),
        reply_rate=await figure_of("reply_rate"),
        opt_out_rate=await figure_of("opt_out_rate"),
        appointments=await figure_of("appointments"),
        revenue=await figure_of("revenue"),
        revenue_attributed=attributed,
        cost=await figure_of("cost"),
    )

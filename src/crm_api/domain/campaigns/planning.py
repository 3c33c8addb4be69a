"""Plan: what may go now, for every running campaign, by zone and not by person."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import plan_statements as sql
from crm_api.domain.campaigns import template
from crm_api.domain.campaigns.schedule import open_until, resolve_zones
from crm_api.domain.compliance.rules import FOREVER, FrequencyCap, RuleBook
from crm_api.domain.sends.claiming import ClaimOrder
from crm_api.domain.windows import Window

Compose = Callable[[Row[Any], Row[Any]], str]


@dataclass(frozen=True, kw_only=True)
class Business:
    """Who is texting; None falls back to the line's name and number."""

    name: str | None
    contact: str | None


async def plan(
    uow: UnitOfWork, *, rules: RuleBook, business: Business, now: datetime
) -> list[ClaimOrder]:
    """Return what may be claimed now; campaigns whose window is shut everywhere are left out.

    A place is open while both the campaign's window and the law's are; the earlier end of the two
    is the latest instant of a text. The cost grows with campaigns and their distinct zones, not
    with recipients.
    """
    rows = (await uow.session.execute(sql.RUNNING, {"now": now})).all()
    legal = _legal_hours(rows, rules=rules, now=now)
    orders = (_order(row, legal=legal, business=business, now=now) for row in rows)
    return [order for order in orders if order.open_zones]


@dataclass(frozen=True, kw_only=True)
class _Legal:
    closes_at: datetime
    cap: FrequencyCap | None


def _legal_hours(rows: Sequence[Row[Any]], *, rules: RuleBook, now: datetime) -> dict[str, _Legal]:
    """Evaluate every distinct place once; those where no text may leave now are left out."""
    legal: dict[str, _Legal] = {}
    for key in {key for row in rows for key in row.zone_keys}:
        closes_at = rules.open_until(key, now)
        if closes_at is not None:
            legal[key] = _Legal(closes_at=closes_at, cap=rules.frequency_cap(key, now))
    return legal


def _order(
    row: Row[Any], *, legal: Mapping[str, _Legal], business: Business, now: datetime
) -> ClaimOrder:
    window = Window.of(row.days, row.window_start, row.window_end)
    open_zones: dict[str, datetime] = {}
    caps: dict[str, tuple[int, int]] = {}
    for key in row.zone_keys:
        zones = resolve_zones(row.timezone, row.line_timezone, key)
        closes_at = open_until(window, zones, now)
        if closes_at is None or key not in legal:
            continue
        open_zones[key] = min(closes_at, legal[key].closes_at, row.end_at or FOREVER)
        if cap := legal[key].cap:
            caps[key] = cap
    return ClaimOrder(
        campaign_id=row.id,
        line_id=row.line_id,
        open_zones=open_zones,
        caps=caps,
        daily_limit=row.daily_limit,
        min_days_between=row.min_days_between,
        compose=composer(row.bodies, footer=row.opt_out_footer, business=business),
    )


def composer(bodies: list[str], *, footer: str | None, business: Business) -> Compose:
    """Return the function that writes the text for a recipient's row and the line's row."""
    compiled = [template.compile_text(body) for body in bodies]

    def compose(recipient: Row[Any], line: Row[Any]) -> str:
        text = compiled[recipient.variant]
        if text.template is None:
            return template.with_footer(text.body, footer)
        values = dict(recipient._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
        values["line"] = {"name": line.name, "number": line.number}
        values["business"] = {
            "name": business.name or line.name,
            "contact": business.contact or line.number,
        }
        return template.compose(text, values, footer=footer)

    return compose

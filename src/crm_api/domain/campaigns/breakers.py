"""The rates that pause a campaign, and the figures on which they do."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from crm_api.domain.campaigns.answers import rate
from crm_api.domain.campaigns.comparison import write_e_value
from crm_api.domain.campaigns.experiment import exceeds, log_excess
from crm_api.domain.schemas import format_instant

FEWEST_TEXTS = 100
"""Below it a rate pauses nothing: a few people's bad day is no trend."""

Evidence = dict[str, Any]


class Breaker(StrEnum):
    """Why a campaign paused itself; of two at once the first is named."""

    OPT_OUT_RATE = "opt_out_rate"
    FAILURE_RATE = "failure_rate"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The rates that a campaign allows, as shares; None is not watched."""

    opt_out_rate: Decimal | None
    failure_rate: Decimal | None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A campaign's sums.

    Attributes:
        texts: Texts that were sent, over all steps.
        failed: Texts that will not be: the provider failed or refused them.
        opted_out: People who opted out, each once, whichever of their texts they answered.
    """

    texts: int
    failed: int
    opted_out: int

    def since(self, before: dict[str, Any] | None) -> "Counts":
        """Return what was added to the sums at the last resume; all of it before any."""
        start = before or {}
        return Counts(
            texts=max(0, self.texts - start.get("texts", 0)),
            failed=max(0, self.failed - start.get("failed", 0)),
            opted_out=max(0, self.opted_out - start.get("opted_out", 0)),
        )

    def but(self, *, failed: int, opted_out: int) -> "Counts":
        """Return the counts with fewer failures, of which the rest counts as sent."""
        return Counts(
            texts=max(0, self.texts + self.failed - failed), failed=failed, opted_out=opted_out
        )

    def to_json(self, *, now: datetime) -> dict[str, Any]:
        """Return what ``since`` takes."""
        return {
            "texts": self.texts,
            "failed": self.failed,
            "opted_out": self.opted_out,
            "at": format_instant(now),
        }


def trip(counts: Counts, limits: Limits, *, now: datetime) -> tuple[Breaker, Evidence] | None:
    """Return why a campaign pauses, and the figures; None while its rates may be within limits.

    Args:
        counts: Since the last resume.
        limits: What the campaign allows.
        now: When this was seen.
    """
    evidence = _evidence(
        counts.opted_out,
        counts.texts,
        counted="opted_out",
        told=f"{counts.opted_out} people opted out after {counts.texts} texts",
        limit=limits.opt_out_rate,
        now=now,
    )
    if evidence is not None:
        return Breaker.OPT_OUT_RATE, evidence
    tried = counts.texts + counts.failed
    evidence = _evidence(
        counts.failed,
        tried,
        counted="failed",
        told=f"{counts.failed} of {tried} texts failed",
        limit=limits.failure_rate,
        now=now,
    )
    return None if evidence is None else (Breaker.FAILURE_RATE, evidence)


def _evidence(
    hits: int, texts: int, *, counted: str, told: str, limit: Decimal | None, now: datetime
) -> Evidence | None:
    if limit is None or texts < FEWEST_TEXTS:
        return None
    log_e_value = log_excess(hits, texts=texts, limit=float(limit))
    if not exceeds(log_e_value):
        return None
    share = rate(hits, texts)
    return {
        "texts": texts,
        counted: hits,
        "rate": share,
        "limit": f"{limit:.4f}",
        "e_value": write_e_value(log_e_value),
        "sentence": f"{told}: a rate of {share}, where {limit:.4f} is allowed. That is more than "
        "chance explains. Find out why; then resume the campaign or cancel it.",
        "at": format_instant(now),
    }

"""Decide whether a rate pauses a campaign, and collect the figures behind it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from crm_api.domain.campaigns.answers import format_rate
from crm_api.domain.campaigns.figures.ab_test import write_e_value
from crm_api.domain.campaigns.figures.experiment import is_significant, log_excess
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.sends.vocabulary import PauseReason

Evidence = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """The rates that a campaign allows, as shares from 0 to 1; None is not checked."""

    opt_out_rate: Decimal | None
    failure_rate: Decimal | None


@dataclass(frozen=True, kw_only=True)
class RateCounts:
    """Sums over all steps of a campaign.

    Attributes:
        texts: Messages that were sent.
        failed: Messages that the provider failed or refused.
        opted_out: People who opted out. Each counts once, whichever message they replied to.
    """

    texts: int
    failed: int
    opted_out: int

    def since(self, before: dict[str, Any] | None) -> "RateCounts":
        """Subtract the sums stored at the last resume; without a resume return everything."""
        start = before or {}
        return RateCounts(
            texts=max(0, self.texts - start.get("texts", 0)),
            failed=max(0, self.failed - start.get("failed", 0)),
            opted_out=max(0, self.opted_out - start.get("opted_out", 0)),
        )

    def with_counts(self, *, failed: int, opted_out: int) -> "RateCounts":
        """Replace the failures and opt-outs; messages no longer counted as failed count as sent."""
        return RateCounts(
            texts=max(0, self.texts + self.failed - failed), failed=failed, opted_out=opted_out
        )

    def to_json(self, *, now: datetime) -> dict[str, Any]:
        """Return the sums in the form that ``since`` reads."""
        return {
            "texts": self.texts,
            "failed": self.failed,
            "opted_out": self.opted_out,
            "at": format_instant(now),
        }


def find_exceeded_rate(
    counts: RateCounts, limits: RateLimits, *, now: datetime
) -> tuple[PauseReason, Evidence] | None:
    """Return why a campaign pauses, and the figures; None while its rates may be within limits.

    The test needs no minimum number of messages: the e-value bounds false alarms from the first
    reply on.

    Args:
        counts: Since the last resume.
        limits: What the campaign allows.
        now: Stored in the figures as the instant of the check.
    """
    # An opt-out can be stored before the acceptance of its message.
    texts = max(counts.texts, counts.opted_out)
    evidence = _evidence(
        counts.opted_out,
        texts,
        counted="opted_out",
        finding=f"{counts.opted_out} people opted out after {texts} texts",
        limit=limits.opt_out_rate,
        now=now,
    )
    if evidence is not None:
        return PauseReason.OPT_OUT_RATE, evidence
    attempted = counts.texts + counts.failed
    evidence = _evidence(
        counts.failed,
        attempted,
        counted="failed",
        finding=f"{counts.failed} of {attempted} texts failed",
        limit=limits.failure_rate,
        now=now,
    )
    return None if evidence is None else (PauseReason.FAILURE_RATE, evidence)


def _evidence(
    hits: int, texts: int, *, counted: str, finding: str, limit: Decimal | None, now: datetime
) -> Evidence | None:
    if limit is None or hits == 0:
        return None
    log_e_value = log_excess(hits, texts=texts, limit=float(limit))
    if not is_significant(log_e_value):
        return None
    share = format_rate(hits, texts)
    return {
        "texts": texts,
        counted: hits,
        "rate": share,
        "limit": f"{limit:.4f}",
        "e_value": write_e_value(log_e_value),
        "sentence": f"{finding}: a rate of {share}, where {limit:.4f} is allowed. That is more "
        "than chance explains. Find out why; then resume the campaign or cancel it.",
        "at": format_instant(now),
    }

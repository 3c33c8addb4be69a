"""Decide whether to pause a campaign because its opt-out or failure rate is too high."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from crm_api.domain.campaigns.figures.ab_test import write_e_value
from crm_api.domain.campaigns.figures.experiment import is_significant, log_excess
from crm_api.domain.kit.intervals import format_rate
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.sends.vocabulary import PauseReason

Evidence = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """The highest allowed rates of opt-outs and of failed messages in a campaign, from 0 to 1.

    A rate whose limit is None is not checked.
    """

    opt_out_rate: Decimal | None
    failure_rate: Decimal | None


@dataclass(frozen=True, kw_only=True)
class RateCounts:
    """The counts from which a campaign's opt-out rate and failure rate are computed.

    The counts include the follow-ups.

    Attributes:
        texts: The number of sent messages that are not counted in ``failed``.
        failed: The number of messages that the provider refused or could not deliver.
        opted_out: The number of people who opted out.
    """

    texts: int
    failed: int
    opted_out: int

    def since(self, before: dict[str, Any] | None) -> "RateCounts":
        """Return how much each count has grown since the campaign was last resumed.

        Args:
            before: The counts at the last resume, in the format of ``to_json``. If the campaign was
                never resumed, ``before`` is None, and the full counts are returned.
        """
        start = before or {}
        return RateCounts(
            texts=max(0, self.texts - start.get("texts", 0)),
            failed=max(0, self.failed - start.get("failed", 0)),
            opted_out=max(0, self.opted_out - start.get("opted_out", 0)),
        )

    def with_counts(self, *, failed: int, opted_out: int) -> "RateCounts":
        """Return a copy with other values of ``failed`` and ``opted_out``.

        If ``failed`` grows, ``texts`` shrinks by the same number, because ``texts`` does not count
        failed messages.
        """
        return RateCounts(
            texts=max(0, self.texts + self.failed - failed), failed=failed, opted_out=opted_out
        )

    def to_json(self, *, now: datetime) -> dict[str, Any]:
        """Return the counts and ``now`` as JSON, to store them in ``campaign.watched_from``.

        The method ``since`` reads this JSON.
        """
        return {
            "texts": self.texts,
            "failed": self.failed,
            "opted_out": self.opted_out,
            "at": format_instant(now),
        }


def find_exceeded_rate(
    counts: RateCounts, limits: RateLimits, *, now: datetime
) -> tuple[PauseReason, Evidence] | None:
    """Return the reason to pause a campaign whose opt-out rate or failure rate is too high.

    Args:
        counts: The counts since the last resume.
        now: The instant that is stored in the evidence.

    Returns:
        The reason, and the figures that prove that the rate is above its limit. None if the counts
        do not prove that a rate is above its limit.
    """
    # An opt-out may be stored before its message is counted as sent. So the number of messages is
    # at least the number of opt-outs.
    texts = max(counts.texts, counts.opted_out)
    evidence = _evidence(
        counts.opted_out,
        texts,
        counted="opted_out",
        finding=f"{counts.opted_out} people opted out after {texts} messages",
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
        finding=f"{counts.failed} of {attempted} messages failed",
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
        "sentence": f"{finding}. This is a rate of {share}, but the campaign allows {limit:.4f}. "
        "Chance does not explain the difference. Find the cause, then resume or cancel the "
        "campaign.",
        "at": format_instant(now),
    }

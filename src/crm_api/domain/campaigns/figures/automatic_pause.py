"""Check the rates and A/B tests of running campaigns; stop variants and pause campaigns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from crm_api.domain.campaigns.figures.ab_test import (
    FEWEST_VARIANTS,
    ab_test_settings,
    write_p_value,
)
from crm_api.domain.campaigns.figures.experiment import (
    Arm,
    ComparedMeasure,
    ExperimentResult,
    evaluate_experiment,
)
from crm_api.domain.campaigns.figures.pause_rules import (
    Evidence,
    RateCounts,
    RateLimits,
    find_exceeded_rate,
)
from crm_api.domain.campaigns.lifecycle import ACTOR, report_pause
from crm_api.domain.campaigns.models import StopReason
from crm_api.domain.campaigns.schemas import ABTest
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform.database import UnitOfWork, typed_row, typed_rows

# Two workers may try to stop variants at the same time. The second worker waits for this lock. It
# then gets only the variants that the first worker has not stopped.
LOCK_LIVE_VARIANTS = text("""
    SELECT v.position FROM campaign_variant v
    WHERE v.campaign_id = :campaign_id AND v.stopped_at IS NULL AND v.weight > 0
    ORDER BY v.position FOR NO KEY UPDATE
""")

STOP_VARIANT = text("""
    UPDATE campaign_variant v SET stopped_at = :now, stopped_reason = :reason
    WHERE v.campaign_id = :campaign_id AND v.position = :position
""")


async def stop_variants(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    arms: Mapping[int, Arm],
    settings: ABTest,
    now: datetime,
) -> bool:
    """Stop the worse variants in a campaign's A/B test; return True if any variant was stopped.

    The settings decide which variants are stopped:

    - ``stop_harmful``: variants with clearly more opt-outs than another variant.
    - ``shift_to_winner``: all variants except the one with clearly the most replies.

    If no variant would be left, none is stopped. Each stop is written to the audit log.

    Args:
        arms: The variants with a weight above 0, by position.
    """
    if len(arms) < FEWEST_VARIANTS or not (settings.stop_harmful or settings.shift_to_winner):
        return False
    result = evaluate_experiment(list(arms.values()), min_per_variant=settings.min_per_variant)
    wanted = _reasons_to_stop(arms, result, settings)
    if not wanted:
        return False
    locked = await uow.session.scalars(LOCK_LIVE_VARIANTS, {"campaign_id": campaign_id})
    live = set(locked.all())
    stops = {position: reason for position, reason in wanted.items() if position in live}
    if len(stops) == len(live):
        return False
    for position, reason in stops.items():
        values = {"campaign_id": campaign_id, "position": position, "reason": reason, "now": now}
        await uow.session.execute(STOP_VARIANT, values)
        await note_decision(
            uow,
            actor=ACTOR,
            action="stop_variant",
            subject=str(campaign_id),
            detail=_evidence(arms[position], reason, list(arms.values()), result),
            now=now,
        )
    return bool(stops)


def _reasons_to_stop(
    arms: Mapping[int, Arm], result: ExperimentResult, settings: ABTest
) -> dict[int, StopReason]:
    stops: dict[int, StopReason] = {}
    for position, arm in arms.items():
        if arm.stopped is not None:
            continue
        if settings.stop_harmful and arm in result.harmful:
            stops[position] = StopReason.HARMFUL
        elif settings.shift_to_winner and result.winner not in {None, arm}:
            stops[position] = StopReason.LOST
    return stops


def _evidence(
    stopped: Arm, reason: StopReason, arms: list[Arm], result: ExperimentResult
) -> Evidence:
    if reason is StopReason.HARMFUL:
        p_values = [
            found.p_value
            for found in result.comparisons
            if found.measure is ComparedMeasure.OPT_OUTS and found.higher == stopped
        ]
    else:
        p_values = [
            found.p_value
            for found in result.comparisons
            if found.measure is ComparedMeasure.REPLIES
            and (found.higher, found.lower) == (result.winner, stopped)
        ]
    return {
        "variant": stopped.name,
        "reason": reason,
        "winner": result.winner.name if result.winner else None,
        "p_value": write_p_value(min(p_values)),
        "figures": {
            arm.name: {"texts": arm.texts, "replies": arm.replies, "opted_out": arm.opt_outs}
            for arm in arms
        },
    }


# The sums include the messages of all steps. An opt-out after a follow-up is also stored at the
# first step, where each person has only one row. So opt-outs are counted only at the first step.
_ALL_STEPS = """
    CAST(coalesce(sum(t.people) FILTER (WHERE t.status IN ('sent', 'delivered')), 0) AS bigint)
        AS texts,
    CAST(coalesce(sum(t.people) FILTER (WHERE t.status = 'failed'), 0) AS bigint) AS failed,
    CAST(coalesce(sum(t.opted_out) FILTER (WHERE t.step = 0), 0) AS bigint) AS opted_out
"""


# One statement reads all watched campaigns, and gives one row for each variant. Only the first
# messages of the variants are compared, because the follow-ups are the same for all variants.
WATCHED_CAMPAIGNS = text(f"""
    WITH watched AS (
        SELECT c.id, c.name, c.max_opt_out_rate, c.max_failure_rate, c.ab_test, c.watched_from
        FROM campaign c
        WHERE c.status = 'running'
          AND (c.max_opt_out_rate IS NOT NULL OR c.max_failure_rate IS NOT NULL
               OR c.ab_test @> '{{"stop_harmful": true}}'
               OR c.ab_test @> '{{"shift_to_winner": true}}')
    ), sums AS (
        SELECT t.campaign_id, t.variant, {_ALL_STEPS},
               sum(t.people) FILTER (WHERE t.is_first) AS first_texts,
               sum(t.replied - t.opted_out) FILTER (WHERE t.is_first) AS first_replies,
               sum(t.opted_out) FILTER (WHERE t.is_first) AS first_opt_outs
        FROM (
            SELECT r.*, r.step = 0 AND r.status IN ('sent', 'delivered') AS is_first
            FROM watched w JOIN campaign_tally r ON r.campaign_id = w.id
        ) t
        GROUP BY t.campaign_id, t.variant
    )
    SELECT w.id, w.name AS campaign_name, w.max_opt_out_rate, w.max_failure_rate, w.ab_test,
           w.watched_from, v.position, v.name, v.weight,
           CASE WHEN v.stopped_at IS NOT NULL THEN v.stopped_reason END AS stopped,
           coalesce(s.texts, 0) AS texts, coalesce(s.failed, 0) AS failed,
           coalesce(s.opted_out, 0) AS opted_out,
           CAST(coalesce(s.first_texts, 0) AS bigint) AS first_texts,
           CAST(coalesce(s.first_replies, 0) AS bigint) AS first_replies,
           CAST(coalesce(s.first_opt_outs, 0) AS bigint) AS first_opt_outs
    FROM watched w
    JOIN campaign_variant v ON v.campaign_id = w.id
    LEFT JOIN sums s ON s.campaign_id = w.id AND s.variant = v.position
    ORDER BY w.id, v.position
""")


@dataclass(frozen=True, slots=True)
class _WatchedVariant:
    """A variant of a running campaign, with the counts of its messages, replies and opt-outs.

    The fields from ``id`` to ``watched_from`` belong to the campaign, all other fields to the
    variant.

    Attributes:
        stopped: Why the variant is no longer sent; None if it is still sent.
        texts: How many messages were sent, follow-ups included.
        failed: How many messages failed, follow-ups included.
        opted_out: How many people opted out after the first message or a follow-up.
        first_replies: How many people got the first message, replied, and did not opt out.
        first_opt_outs: How many people got the first message and opted out.
    """

    id: UUID
    campaign_name: str
    max_opt_out_rate: Decimal | None
    max_failure_rate: Decimal | None
    ab_test: dict[str, Any] | None
    watched_from: dict[str, Any] | None
    position: int
    name: str
    weight: int
    stopped: str | None
    texts: int
    failed: int
    opted_out: int
    first_texts: int
    first_replies: int
    first_opt_outs: int


async def check_figures(uow: UnitOfWork, *, now: datetime) -> UUID | None:
    """Find one running campaign with bad results; stop variants of it, or pause it, or do both.

    At most one campaign is changed, so that a transaction never locks rows of two campaigns. Call
    the function until it returns None. Claimed attempts that are not sent yet are withdrawn. Each
    change is written to the audit log, and a pause raises an alert. Any number of workers may call
    the function at the same time.

    Returns:
        The id of the changed campaign; None if no campaign has to be changed.
    """
    rows = typed_rows(_WatchedVariant, await uow.session.execute(WATCHED_CAMPAIGNS))
    for campaign_id, grouped in groupby(rows, key=lambda row: row.id):
        variants = list(grouped)
        is_stopped = await stop_variants(
            uow,
            campaign_id=campaign_id,
            arms={row.position: _arm(row) for row in variants if row.weight},
            settings=ab_test_settings(variants[0].ab_test),
            now=now,
        )
        is_paused = await _pause(uow, variants, now=now)
        if is_stopped or is_paused:
            await sends.withdraw_campaign(uow, campaign_id=campaign_id, now=now)
            return variants[0].id
    return None


def _arm(row: _WatchedVariant) -> Arm:
    return Arm(
        name=row.name,
        texts=row.first_texts,
        replies=row.first_replies,
        opt_outs=row.first_opt_outs,
        stopped=row.stopped,
    )


RATE_SUMS = text(f"""
    SELECT {_ALL_STEPS} FROM campaign_tally t WHERE t.campaign_id = :campaign_id
""")


async def read_rate_counts(uow: UnitOfWork, *, campaign_id: UUID) -> RateCounts:
    """Return how many messages a campaign has sent, how many failed, and how many people opted out.

    The counts begin at the start of the campaign, and include the messages of all steps.
    """
    row = (await uow.session.execute(RATE_SUMS, {"campaign_id": campaign_id})).one()
    return typed_row(RateCounts, row)


# A resume of the campaign restarts its counts at zero, and changes `watched_from`. If the campaign
# was resumed after its rates were read, these rates are out of date. So the statement pauses the
# campaign only if `watched_from` is the same as before.
PAUSE = text("""
    UPDATE campaign c
    SET status = 'paused', paused_reason = :reason, paused_evidence = :evidence, updated_at = :now
    WHERE c.id = :campaign_id AND c.status = 'running'
      AND c.watched_from IS NOT DISTINCT FROM :watched_from
    RETURNING c.id
""").bindparams(
    bindparam("evidence", type_=JSONB), bindparam("watched_from", type_=JSONB(none_as_null=True))
)


async def _pause(uow: UnitOfWork, variants: Sequence[_WatchedVariant], *, now: datetime) -> bool:
    campaign = variants[0]
    limits = RateLimits(
        opt_out_rate=campaign.max_opt_out_rate, failure_rate=campaign.max_failure_rate
    )
    sums = RateCounts(
        texts=sum(row.texts for row in variants),
        failed=sum(row.failed for row in variants),
        opted_out=sum(row.opted_out for row in variants),
    )
    counts = sums.since(campaign.watched_from)
    tripped = find_exceeded_rate(counts, limits, now=now)
    if tripped is not None and campaign.watched_from is not None:
        counts = await _exclude_earlier_messages(
            uow, campaign.id, counts, since=campaign.watched_from["at"]
        )
        tripped = find_exceeded_rate(counts, limits, now=now)
    if tripped is None:
        return False
    reason, evidence = tripped
    values = {
        "campaign_id": campaign.id,
        "reason": reason,
        "evidence": evidence,
        "watched_from": campaign.watched_from,
        "now": now,
    }
    if await uow.session.scalar(PAUSE, values) is None:
        return False
    await report_pause(
        uow,
        campaign_id=campaign.id,
        name=campaign.campaign_name,
        reason=reason,
        evidence=evidence,
        now=now,
    )
    return True


# If a failure or an opt-out is stored after a resume, its message may have been sent before the
# resume. So this statement counts only recipients with an attempt after the resume. With the LIMIT,
# PostgreSQL looks up the attempts of each recipient. Without the LIMIT, PostgreSQL may read all
# attempts.
ANSWERED_SINCE = text("""
    SELECT count(*) FILTER (WHERE m.status = 'failed') AS failed,
           count(DISTINCT m.contact_id) FILTER (WHERE m.opted_out_at IS NOT NULL) AS opted_out
    FROM campaign_membership m
    CROSS JOIN LATERAL (
        SELECT 1 FROM send_attempt a
        WHERE a.membership_id = m.id AND a.called_at >= CAST(:since AS timestamptz) LIMIT 1
    ) called
    WHERE m.campaign_id = :campaign_id AND (m.status = 'failed' OR m.opted_out_at IS NOT NULL)
""")


async def _exclude_earlier_messages(
    uow: UnitOfWork, campaign_id: UUID, counts: RateCounts, *, since: str
) -> RateCounts:
    """Return ``counts`` without the failures and opt-outs of messages sent before the last resume.

    This function reads the attempts, which is slow. Call it only before a campaign is paused.

    Args:
        counts: The counts since the last resume.
        since: The instant of the last resume, in ISO 8601.
    """
    values = {"campaign_id": campaign_id, "since": datetime.fromisoformat(since)}
    row = (await uow.session.execute(ANSWERED_SINCE, values)).one()
    return counts.with_counts(failed=row.failed, opted_out=row.opted_out)

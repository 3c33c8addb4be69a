"""Stop variants of a running campaign that are harmful or that lost against the winner."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.campaigns.figures.ab_test import FEWEST_VARIANTS, write_p_value
from crm_api.domain.campaigns.figures.experiment import (
    Arm,
    ComparedMeasure,
    ExperimentResult,
    evaluate_experiment,
)
from crm_api.domain.campaigns.figures.rate_limits import Evidence
from crm_api.domain.campaigns.lifecycle import ACTOR
from crm_api.domain.campaigns.models import StopReason
from crm_api.domain.campaigns.schemas import ABTest
from crm_api.domain.kit.audit_log import note_decision
from crm_api.platform.database import UnitOfWork

# If two workers stop variants at the same time, the second one waits here, and then gets only the
# variants that the first one has not stopped.
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
    """Stop harmful variants and losing variants, if the settings of the A/B test allow this.

    The last variant that is still sent is never stopped. Each stop is written to the audit log.

    Args:
        uow: The unit of work.
        campaign_id: The campaign.
        arms: The variants with a weight above 0, by position.
        settings: The settings of the A/B test.
        now: The present instant.

    Returns:
        True if a variant was stopped.
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

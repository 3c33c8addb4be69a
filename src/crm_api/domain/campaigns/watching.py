"""What the figures of a running campaign set off: a wording is stopped, or the campaign paused."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import pausing
from crm_api.domain.campaigns import watch_statements as sql
from crm_api.domain.campaigns.breakers import Counts, Evidence, Limits, trip
from crm_api.domain.campaigns.comparison import FEWEST, settings_of, write_p_value
from crm_api.domain.campaigns.experiment import Arm, Measure, StopReason, Verdict, judge
from crm_api.domain.campaigns.schemas import ABTest
from crm_api.domain.operations import service as operations
from crm_api.domain.sends import service as sends


async def watch(uow: UnitOfWork, *, now: datetime) -> UUID | None:
    """Stop wordings of a campaign or pause it, where its figures say so; None when none does.

    One campaign a call, so that no transaction holds rows of two: call it until it returns None.
    Reads all running campaigns in one statement. Each change is in the audit log, a pause raises
    an alert too. What is claimed goes back, so that nothing more leaves of what was stopped. May
    run twice, on any number of workers: what another one did meanwhile stands.

    Returns:
        The campaign that changed.
    """
    rows = (await uow.session.execute(sql.WATCHED)).all()
    for campaign_id, grouped in groupby(rows, key=lambda row: row.id):
        variants = list(grouped)
        is_stopped = await _stop_variants(uow, campaign_id, variants, now=now)
        is_paused = await _pause(uow, campaign_id, variants, now=now)
        if is_stopped or is_paused:
            await sends.withdraw_campaign(uow, campaign_id=campaign_id, now=now)
            return UUID(str(campaign_id))
    return None


async def begin_count(uow: UnitOfWork, *, campaign_id: UUID, now: datetime) -> dict[str, Any]:
    """Return the present sums of a campaign, from which its rates are to be watched."""
    row = (await uow.session.execute(sql.SUMS, {"campaign_id": campaign_id})).one()
    return Counts(texts=row.texts, failed=row.failed, opted_out=row.opted_out).to_json(now=now)


async def _stop_variants(
    uow: UnitOfWork, campaign_id: UUID, variants: Sequence[Row[Any]], *, now: datetime
) -> bool:
    test = settings_of(variants[0].ab_test)
    compared = {row.position: _arm(row) for row in variants if row.weight}
    if len(compared) < FEWEST or not (test.stop_harmful or test.shift_to_winner):
        return False
    verdict = judge(list(compared.values()), min_per_variant=test.min_per_variant)
    wanted = _to_stop(compared, verdict, test)
    if not wanted:
        return False
    locked = await uow.session.scalars(sql.LOCK_LIVE_VARIANTS, {"campaign_id": campaign_id})
    live = set(locked.all())
    stops = {position: reason for position, reason in wanted.items() if position in live}
    if len(stops) == len(live):
        return False
    for position, reason in stops.items():
        values = {"campaign_id": campaign_id, "position": position, "reason": reason, "now": now}
        await uow.session.execute(sql.STOP_VARIANT, values)
        await operations.audit(
            uow,
            actor=pausing.ACTOR,
            action="stop_variant",
            subject=str(campaign_id),
            detail=_evidence(compared[position], reason, list(compared.values()), verdict),
            now=now,
        )
    return bool(stops)


def _arm(row: Row[Any]) -> Arm:
    return Arm(
        name=row.name,
        texts=row.first_texts,
        replies=row.first_replies,
        opt_outs=row.first_opt_outs,
        stopped=row.stopped,
    )


def _to_stop(arms: dict[int, Arm], verdict: Verdict, test: ABTest) -> dict[int, StopReason]:
    stops: dict[int, StopReason] = {}
    for position, arm in arms.items():
        if arm.stopped is not None:
            continue
        if test.stop_harmful and arm in verdict.harmful:
            stops[position] = StopReason.HARMFUL
        elif test.shift_to_winner and verdict.winner not in {None, arm}:
            stops[position] = StopReason.LOST
    return stops


def _evidence(stopped: Arm, reason: StopReason, arms: list[Arm], verdict: Verdict) -> Evidence:
    if reason is StopReason.HARMFUL:
        p_values = [
            found.p_value
            for found in verdict.comparisons
            if found.measure is Measure.OPT_OUTS and found.higher == stopped
        ]
    else:
        p_values = [
            found.p_value
            for found in verdict.comparisons
            if found.measure is Measure.REPLIES
            and (found.higher, found.lower) == (verdict.winner, stopped)
        ]
    return {
        "variant": stopped.name,
        "reason": reason,
        "winner": verdict.winner.name if verdict.winner else None,
        "p_value": write_p_value(min(p_values)),
        "figures": {
            arm.name: {"texts": arm.texts, "replies": arm.replies, "opted_out": arm.opt_outs}
            for arm in arms
        },
    }


async def _pause(
    uow: UnitOfWork, campaign_id: UUID, variants: Sequence[Row[Any]], *, now: datetime
) -> bool:
    campaign = variants[0]
    limits = Limits(opt_out_rate=campaign.max_opt_out_rate, failure_rate=campaign.max_failure_rate)
    sums = Counts(
        texts=sum(row.texts for row in variants),
        failed=sum(row.failed for row in variants),
        opted_out=sum(row.opted_out for row in variants),
    )
    counts = sums.since(campaign.watched_from)
    tripped = trip(counts, limits, now=now)
    if tripped is not None and campaign.watched_from is not None:
        counts = await _of_texts_since(uow, campaign_id, counts, since=campaign.watched_from["at"])
        tripped = trip(counts, limits, now=now)
    if tripped is None:
        return False
    reason, evidence = tripped
    values = {
        "campaign_id": campaign_id,
        "reason": reason,
        "evidence": evidence,
        "watched_from": campaign.watched_from,
        "now": now,
    }
    if await uow.session.scalar(sql.PAUSE, values) is None:
        return False
    await pausing.tell(
        uow,
        campaign_id=campaign.id,
        name=campaign.campaign_name,
        reason=reason,
        evidence=evidence,
        now=now,
    )
    return True


async def _of_texts_since(
    uow: UnitOfWork, campaign_id: UUID, counts: Counts, *, since: str
) -> Counts:
    """Leave out what failed or opted out since a resume, but is of a text from before it.

    The sums cannot tell those apart; they are counted only when the campaign would pause.
    """
    values = {"campaign_id": campaign_id, "since": datetime.fromisoformat(since)}
    row = (await uow.session.execute(sql.ANSWERED_SINCE, values)).one()
    return counts.but(failed=row.failed, opted_out=row.opted_out)

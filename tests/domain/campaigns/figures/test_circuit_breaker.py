"""Campaigns that exceed their limits pause themselves; harmful and losing variants are stopped."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Row, null, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.rows import Rows, campaign_with
from tests.factories import make_campaign
from tests.locks import blocked

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.figures.circuit_breaker import check_figures
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.messaging.models.lines import Line
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
LATER = NOW + timedelta(hours=2)
HARMFUL = {"min_per_variant": 100, "stop_harmful": True}
WINNER = {"min_per_variant": 100, "shift_to_winner": True}


def opt_outs(rows: Rows, count: int, **values: Any) -> None:
    rows.add("sent", count=count, sent_at=NOW, replied_at=NOW, opted_out_at=NOW, **values)


async def watched(new_uow: NewUow, rows: Rows, *, now: datetime = NOW) -> bool:
    """Return whether the campaign changed; a second change would loop forever in the worker."""
    await rows.session.commit()
    async with new_uow() as uow:
        changed = await check_figures(uow, now=now)
    async with new_uow() as uow:
        assert await check_figures(uow, now=now) is None
    await rows.session.refresh(rows.campaign)
    return changed == rows.campaign.id


async def resumed(new_uow: NewUow, rows: Rows, *, now: datetime = NOW) -> None:
    async with new_uow() as uow:
        await campaigns.resume_campaign(uow, campaign_id=rows.campaign.id, now=now)
    await rows.session.refresh(rows.campaign)


async def written(session: AsyncSession, table: str) -> Sequence[Row[Any]]:
    return (await session.execute(text(f"SELECT * FROM {table} ORDER BY id"))).all()


async def test_too_many_opt_outs_pause_the_campaign_with_the_figures(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session)
    rows.add("delivered", count=87)
    opt_outs(rows, 13)

    assert await watched(new_uow, rows)

    campaign = rows.campaign
    assert (campaign.status, campaign.paused_reason) == ("paused", "opt_out_rate")
    evidence = campaign.paused_evidence or {}
    assert float(evidence.pop("e_value")) >= 20
    assert evidence == {
        "texts": 100,
        "opted_out": 13,
        "rate": "0.1300",
        "limit": "0.0500",
        "sentence": "13 people opted out after 100 messages. This is a rate of 0.1300, but the "
        "campaign allows 0.0500. Chance does not explain the difference. Find the cause, then "
        "resume or cancel the campaign.",
        "at": "2026-11-25T15:00:00.000Z",
    }


async def test_campaign_whose_people_all_opt_out_pauses_at_the_third(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session, max_opt_out_rate="0.02")
    rows.add("pending", count=92)
    opt_outs(rows, 3)

    assert await watched(new_uow, rows)

    assert rows.campaign.paused_reason == "opt_out_rate"


async def test_too_many_failures_pause_the_campaign(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await campaign_with(session)
    rows.add("sent", count=62)
    rows.add("failed", count=38)

    assert await watched(new_uow, rows)

    assert rows.campaign.paused_reason == "failure_rate"
    evidence = rows.campaign.paused_evidence or {}
    assert (evidence["texts"], evidence["failed"], evidence["rate"]) == (100, 38, "0.3800")
    assert evidence["sentence"].startswith("38 of 100 messages failed")


async def test_of_two_reasons_the_opt_outs_are_named(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session)
    rows.add("failed", count=100)
    opt_outs(rows, 100)

    await watched(new_uow, rows)

    assert rows.campaign.paused_reason == "opt_out_rate"


@pytest.mark.parametrize(
    ("sent", "failed", "opted_out"), [(88, 0, 12), (63, 37, 0), (0, 0, 2), (0, 4, 0), (0, 0, 0)]
)
async def test_campaign_within_its_limits_continues(
    session: AsyncSession, new_uow: NewUow, sent: int, failed: int, opted_out: int
) -> None:
    rows = await campaign_with(session)
    rows.add("sent", count=sent)
    rows.add("failed", count=failed)
    opt_outs(rows, opted_out)

    assert not await watched(new_uow, rows)

    assert rows.campaign.status == "running"


@pytest.mark.parametrize("limits", [(None, None), ("0.2", "0.6"), ("1", "1")])
async def test_campaign_with_other_limits_continues(
    session: AsyncSession, new_uow: NewUow, limits: tuple[str | None, str | None]
) -> None:
    values = {"max_opt_out_rate": limits[0] or null(), "max_failure_rate": limits[1] or null()}
    rows = await campaign_with(session, ab_test=HARMFUL, **values)
    rows.add("failed", count=60)
    rows.add("sent", count=80)
    opt_outs(rows, 20)

    assert not await watched(new_uow, rows)


@pytest.mark.parametrize("status", ["draft", "scheduled", "paused", "blocked", "cancelled"])
async def test_campaign_that_does_not_run_is_left_alone(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    rows = await campaign_with(session, status=status, bodies=("A", "B"), ab_test=HARMFUL)
    opt_outs(rows, 200)
    rows.add("sent", count=200, variant=1)

    assert not await watched(new_uow, rows)

    assert rows.campaign.status == status
    assert await stopped(session) == {"V0": None, "V1": None}


async def test_people_who_still_wait_are_no_texts(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await campaign_with(session)
    for status in ("pending", "sending", "unknown", "skipped", "cancelled"):
        rows.add(status, count=100)
    rows.add("sent", count=80)
    opt_outs(rows, 20)

    assert await watched(new_uow, rows)

    assert (rows.campaign.paused_evidence or {})["rate"] == "0.2000"


async def test_follow_ups_count_as_texts_and_each_person_opts_out_once(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session)
    rows.add("sent", count=188)
    for member in rows.add("sent", count=12, opted_out_at=NOW, replied_at=NOW):
        rows.add_step(member, "sent", opted_out_at=NOW, replied_at=NOW)

    assert not await watched(new_uow, rows)


async def test_pause_takes_claims_back(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await campaign_with(session)
    opt_outs(rows, 100)
    (claimed,) = rows.add("sending")
    rows.attempt(claimed, "claimed", called_at=None)

    await watched(new_uow, rows)

    await session.refresh(claimed)
    (attempt,) = await written(session, "send_attempt")
    assert (claimed.status, attempt.status) == ("pending", "released")


async def test_pause_raises_an_alert_and_is_in_the_audit_log(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session, name="Autumn check")
    opt_outs(rows, 100)

    await watched(new_uow, rows)

    (alert,) = await written(session, "alert")
    (entry,) = await written(session, "audit_log")
    context = {"reason": "opt_out_rate", **(rows.campaign.paused_evidence or {})}
    assert (alert.kind, alert.subject) == ("campaign_paused", str(rows.campaign.id))
    assert alert.detail.endswith(context["sentence"])
    assert (alert.context, alert.resolved_at) == (context, None)
    assert (entry.actor, entry.action) == ("worker", "pause_campaign")
    assert (entry.subject, entry.detail) == (str(rows.campaign.id), context)


async def test_two_campaigns_pause_one_a_call(session: AsyncSession, new_uow: NewUow) -> None:
    first = await campaign_with(session)
    second = Rows(session, await again(session, first.campaign))
    opt_outs(first, 100)
    opt_outs(second, 100)
    await session.commit()

    changed = []
    for _ in range(3):
        async with new_uow() as uow:
            changed.append(await check_figures(uow, now=NOW))

    assert changed == [*sorted([first.campaign.id, second.campaign.id]), None]


async def again(session: AsyncSession, campaign: Campaign) -> Campaign:
    """Store another campaign on the same line."""
    other = await make_campaign(session, line=await session.get_one(Line, campaign.line_id))
    await session.commit()
    return other


async def test_resume_starts_a_new_count(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await campaign_with(session, recipients_total=200)
    opt_outs(rows, 100)
    rows.add("failed", count=100)
    await watched(new_uow, rows)

    await resumed(new_uow, rows)

    assert (rows.campaign.paused_reason, rows.campaign.paused_evidence) == (None, None)
    assert not await watched(new_uow, rows)
    (alert,) = await written(session, "alert")
    assert alert.resolved_at == NOW


async def test_resumed_campaign_pauses_again_by_its_new_texts(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session, recipients_total=300)
    opt_outs(rows, 100)
    await watched(new_uow, rows)
    await resumed(new_uow, rows)

    rows.add("sent", count=87)
    rows.answered(13, called_at=LATER, opted_out_at=LATER, replied_at=LATER)
    assert await watched(new_uow, rows, now=LATER)

    evidence = rows.campaign.paused_evidence or {}
    assert (evidence["texts"], evidence["opted_out"]) == (100, 13)
    (alert,) = await written(session, "alert")
    assert (alert._mapping["count"], alert.resolved_at) == (2, None)


async def test_late_answers_to_texts_from_before_a_resume_do_not_count(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session, recipients_total=500)
    early = rows.answered(200, called_at=NOW)
    opt_outs(rows, 100)
    await watched(new_uow, rows)
    await resumed(new_uow, rows, now=NOW + timedelta(minutes=1))

    for member in early[:90]:
        member.status = "failed"
    for member in early[90:]:
        member.opted_out_at = member.replied_at = LATER
    rows.add("sent", count=110)
    assert not await watched(new_uow, rows, now=LATER)

    rows.answered(90, "failed", called_at=LATER)
    assert await watched(new_uow, rows, now=LATER)
    evidence = rows.campaign.paused_evidence or {}
    assert (rows.campaign.paused_reason, evidence["failed"]) == ("failure_rate", 90)
    assert evidence["texts"] == 200


async def test_cancel_ends_the_alert(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await campaign_with(session)
    opt_outs(rows, 100)
    await watched(new_uow, rows)

    async with new_uow() as uow:
        await campaigns.cancel_campaign(uow, campaign_id=rows.campaign.id, now=LATER)

    (alert,) = await written(session, "alert")
    assert alert.resolved_at == LATER


async def test_figures_from_before_a_resume_pause_nothing(
    committed_uow: NewUow, committed_db: AsyncEngine
) -> None:
    async with committed_uow() as uow:
        rows = await campaign_with(uow.session, recipients_total=100)
        opt_outs(rows, 100)
    campaign_id = rows.campaign.id

    async def watch() -> UUID | None:
        async with committed_uow() as uow:
            return await check_figures(uow, now=NOW)

    async with committed_uow() as uow:
        await campaigns.pause_campaign(uow, campaign_id=campaign_id, now=NOW)
        await campaigns.resume_campaign(uow, campaign_id=campaign_id, now=NOW)
        waiting = await blocked(committed_db, watch())

    assert await waiting is None


async def test_two_workers_pause_once(committed_uow: NewUow, committed_db: AsyncEngine) -> None:
    async with committed_uow() as uow:
        opt_outs(await campaign_with(uow.session), 100)

    async def watch() -> UUID | None:
        async with committed_uow() as uow:
            return await check_figures(uow, now=NOW)

    async with committed_uow() as uow:
        first = await check_figures(uow, now=NOW)
        waiting = await blocked(committed_db, watch())

    assert first is not None
    assert await waiting is None
    async with committed_uow() as uow:
        assert len(await written(uow.session, "audit_log")) == 1


def compared(rows: Rows, variant: int, *, texts: int, replies: int = 0, out: int = 0) -> None:
    """Add people with a variant, of whom some replied and further ones opted out."""
    rows.add("sent", count=texts - replies - out, variant=variant)
    rows.add("sent", count=replies, variant=variant, replied_at=NOW)
    opt_outs(rows, out, variant=variant)


async def stopped(session: AsyncSession) -> dict[str, str | None]:
    """Return why each variant was stopped; None while it is sent."""
    found = await session.execute(
        text("SELECT name, stopped_at, stopped_reason FROM campaign_variant ORDER BY position")
    )
    return {row.name: row.stopped_at and row.stopped_reason for row in found}


async def test_harmful_variant_is_stopped(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await campaign_with(session, bodies=("A", "B"), ab_test=HARMFUL)
    compared(rows, 0, texts=600, replies=60, out=2)
    compared(rows, 1, texts=600, replies=60, out=30)

    assert await watched(new_uow, rows)

    assert await stopped(session) == {"V0": None, "V1": "harmful"}
    assert rows.campaign.status == "running"
    (entry,) = await written(session, "audit_log")
    assert (entry.actor, entry.action) == ("worker", "stop_variant")
    assert 0 < float(entry.detail.pop("p_value")) <= 0.05
    assert entry.detail == {
        "variant": "V1",
        "reason": "harmful",
        "winner": None,
        "figures": {
            "V0": {"texts": 600, "replies": 60, "opted_out": 2},
            "V1": {"texts": 600, "replies": 60, "opted_out": 30},
        },
    }


async def test_winner_gets_the_others_share(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await campaign_with(session, bodies=("A", "B", "C"), ab_test=WINNER)
    compared(rows, 0, texts=400, replies=20)
    compared(rows, 1, texts=400, replies=90)
    compared(rows, 2, texts=400, replies=22)

    assert await watched(new_uow, rows)

    assert await stopped(session) == {"V0": "lost", "V1": None, "V2": "lost"}
    entries = await written(session, "audit_log")
    assert [entry.detail["variant"] for entry in entries] == ["V0", "V2"]
    assert {entry.detail["winner"] for entry in entries} == {"V1"}
    assert all(0 < float(entry.detail["p_value"]) <= 0.05 for entry in entries)


async def test_stop_withdraws_claims_so_that_the_variant_is_not_sent(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session, bodies=("A", "B"), ab_test=HARMFUL)
    compared(rows, 0, texts=600)
    compared(rows, 1, texts=600, out=30)
    (claimed,) = rows.add("sending", variant=1)
    rows.attempt(claimed, "claimed", called_at=None)

    await watched(new_uow, rows)

    await session.refresh(claimed)
    (attempt,) = await written(session, "send_attempt")
    assert (claimed.status, attempt.status) == ("pending", "released")


@pytest.mark.parametrize(
    "ab_test",
    [None, {}, WINNER, {**HARMFUL, "stop_harmful": False}, {**HARMFUL, "min_per_variant": 601}],
)
async def test_harmful_variant_continues_without_the_option_or_evidence(
    session: AsyncSession, new_uow: NewUow, ab_test: dict[str, Any] | None
) -> None:
    rows = await campaign_with(session, bodies=("A", "B"), ab_test=ab_test)
    compared(rows, 0, texts=600, replies=60, out=2)
    compared(rows, 1, texts=600, replies=60, out=30)

    assert not await watched(new_uow, rows)


@pytest.mark.parametrize("ab_test", [None, {}, HARMFUL, {**WINNER, "min_per_variant": 401}])
async def test_loser_continues_without_the_option_or_evidence(
    session: AsyncSession, new_uow: NewUow, ab_test: dict[str, Any] | None
) -> None:
    rows = await campaign_with(session, bodies=("A", "B"), ab_test=ab_test)
    compared(rows, 0, texts=400, replies=20)
    compared(rows, 1, texts=400, replies=90)

    assert not await watched(new_uow, rows)


async def test_opt_outs_win_nothing(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await campaign_with(session, bodies=("A", "B"), ab_test=WINNER, max_opt_out_rate=null())
    compared(rows, 0, texts=400, out=10)
    compared(rows, 1, texts=400, out=90)

    assert not await watched(new_uow, rows)


async def test_follow_ups_decide_nothing_about_variants(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session, bodies=("A", "B"), ab_test=WINNER)
    compared(rows, 0, texts=400, replies=20)
    compared(rows, 1, texts=400, replies=20)
    rows.add("sent", count=90, step=1, variant=1, replied_at=NOW)

    assert not await watched(new_uow, rows)


async def test_variant_without_a_share_takes_no_part(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session, bodies=("A", "B", "C"), ab_test=WINNER)
    await session.execute(text("UPDATE campaign_variant SET weight = 0 WHERE name = 'V2'"))
    compared(rows, 0, texts=400, replies=20)
    compared(rows, 1, texts=400, replies=90)

    assert await watched(new_uow, rows)

    assert await stopped(session) == {"V0": "lost", "V1": None, "V2": None}


async def test_last_variant_is_never_stopped(
    committed_uow: NewUow, committed_db: AsyncEngine
) -> None:
    """Two workers have different figures; each leaves the variant that the other one keeps."""
    async with committed_uow() as uow:
        rows = await campaign_with(uow.session, bodies=("A", "B"), ab_test=WINNER)
        compared(rows, 0, texts=400, replies=20)
        compared(rows, 1, texts=400, replies=90)

    async def watch() -> UUID | None:
        async with committed_uow() as uow:
            return await check_figures(uow, now=NOW)

    async with committed_uow() as uow:
        await uow.session.execute(
            text(
                "UPDATE campaign_variant SET stopped_at = :now, stopped_reason = 'harmful' "
                "WHERE name = 'V1'"
            ),
            {"now": NOW},
        )
        waiting = await blocked(committed_db, watch())

    assert await waiting is None
    async with committed_uow() as uow:
        assert await stopped(uow.session) == {"V0": None, "V1": "harmful"}

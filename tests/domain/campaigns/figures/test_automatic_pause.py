"""A campaign above its limit of opt-outs or failures is paused; bad variants are stopped.

A bad variant is harmful (it causes too many opt-outs) or loses the A/B test.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Row, null, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.rows import Rows, make_campaign_rows
from tests.factories import make_campaign
from tests.locks import blocked

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.figures.automatic_pause import check_figures
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.messaging.models.lines import Line
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
LATER = NOW + timedelta(hours=2)
HARMFUL = {"min_per_variant": 100, "stop_harmful": True}
WINNER = {"min_per_variant": 100, "shift_to_winner": True}


def add_opt_outs(rows: Rows, count: int, **values: Any) -> None:
    rows.add("sent", count=count, sent_at=NOW, replied_at=NOW, opted_out_at=NOW, **values)


async def run_check(new_uow: NewUow, rows: Rows, *, now: datetime = NOW) -> bool:
    """Check the figures of all campaigns; return whether the check changed this campaign.

    A second check must change nothing, because the worker would repeat such a change forever.
    """
    await rows.session.commit()
    async with new_uow() as uow:
        changed = await check_figures(uow, now=now)
    async with new_uow() as uow:
        assert await check_figures(uow, now=now) is None
    await rows.session.refresh(rows.campaign)
    return changed == rows.campaign.id


async def resume(new_uow: NewUow, rows: Rows, *, now: datetime = NOW) -> None:
    async with new_uow() as uow:
        await campaigns.resume_campaign(uow, campaign_id=rows.campaign.id, now=now)
    await rows.session.refresh(rows.campaign)


async def read_table(session: AsyncSession, table: str) -> Sequence[Row[Any]]:
    return (await session.execute(text(f"SELECT * FROM {table} ORDER BY id"))).all()


async def test_too_many_opt_outs_pause_the_campaign_with_evidence(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session)
    rows.add("delivered", count=87)
    add_opt_outs(rows, 13)

    assert await run_check(new_uow, rows)

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


async def test_campaign_whose_recipients_all_opt_out_pauses_at_the_third(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session, max_opt_out_rate="0.02")
    rows.add("pending", count=92)
    add_opt_outs(rows, 3)

    assert await run_check(new_uow, rows)

    assert rows.campaign.paused_reason == "opt_out_rate"


async def test_too_many_failures_pause_the_campaign(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_campaign_rows(session)
    rows.add("sent", count=62)
    rows.add("failed", count=38)

    assert await run_check(new_uow, rows)

    assert rows.campaign.paused_reason == "failure_rate"
    evidence = rows.campaign.paused_evidence or {}
    assert (evidence["texts"], evidence["failed"], evidence["rate"]) == (100, 38, "0.3800")
    assert evidence["sentence"].startswith("38 of 100 messages failed")


async def test_opt_out_rate_has_priority_over_failure_rate(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session)
    rows.add("failed", count=100)
    add_opt_outs(rows, 100)

    await run_check(new_uow, rows)

    assert rows.campaign.paused_reason == "opt_out_rate"


@pytest.mark.parametrize(
    ("sent", "failed", "opted_out"), [(88, 0, 12), (63, 37, 0), (0, 0, 2), (0, 4, 0), (0, 0, 0)]
)
async def test_campaign_within_its_limits_continues(
    session: AsyncSession, new_uow: NewUow, sent: int, failed: int, opted_out: int
) -> None:
    rows = await make_campaign_rows(session)
    rows.add("sent", count=sent)
    rows.add("failed", count=failed)
    add_opt_outs(rows, opted_out)

    assert not await run_check(new_uow, rows)

    assert rows.campaign.status == "running"


@pytest.mark.parametrize("limits", [(None, None), ("0.2", "0.6"), ("1", "1")])
async def test_campaign_without_limits_or_with_higher_limits_continues(
    session: AsyncSession, new_uow: NewUow, limits: tuple[str | None, str | None]
) -> None:
    values = {"max_opt_out_rate": limits[0] or null(), "max_failure_rate": limits[1] or null()}
    rows = await make_campaign_rows(session, ab_test=HARMFUL, **values)
    rows.add("failed", count=60)
    rows.add("sent", count=80)
    add_opt_outs(rows, 20)

    assert not await run_check(new_uow, rows)


@pytest.mark.parametrize("status", ["draft", "scheduled", "paused", "blocked", "cancelled"])
async def test_campaign_that_is_not_running_is_not_changed(
    session: AsyncSession, new_uow: NewUow, status: str
) -> None:
    rows = await make_campaign_rows(session, status=status, bodies=("A", "B"), ab_test=HARMFUL)
    add_opt_outs(rows, 200)
    rows.add("sent", count=200, variant=1)

    assert not await run_check(new_uow, rows)

    assert rows.campaign.status == status
    assert await read_stop_reasons(session) == {"V0": None, "V1": None}


async def test_recipients_without_a_sent_message_do_not_count(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session)
    for status in ("pending", "sending", "unknown", "skipped", "cancelled"):
        rows.add(status, count=100)
    rows.add("sent", count=80)
    add_opt_outs(rows, 20)

    assert await run_check(new_uow, rows)

    assert (rows.campaign.paused_evidence or {})["rate"] == "0.2000"


async def test_follow_ups_count_as_messages_and_an_opt_out_counts_once_a_person(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session)
    rows.add("sent", count=188)
    for member in rows.add("sent", count=12, opted_out_at=NOW, replied_at=NOW):
        rows.add_step(member, "sent", opted_out_at=NOW, replied_at=NOW)

    assert not await run_check(new_uow, rows)


async def test_pause_withdraws_claims(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_campaign_rows(session)
    add_opt_outs(rows, 100)
    (claimed,) = rows.add("sending")
    rows.add_attempt(claimed, "claimed", called_at=None)

    await run_check(new_uow, rows)

    await session.refresh(claimed)
    (attempt_row,) = await read_table(session, "send_attempt")
    assert (claimed.status, attempt_row.status) == ("pending", "released")


async def test_pause_raises_an_alert_and_is_audited(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_campaign_rows(session, name="Autumn check")
    add_opt_outs(rows, 100)

    await run_check(new_uow, rows)

    (alert,) = await read_table(session, "alert")
    (entry,) = await read_table(session, "audit_log")
    context = {"reason": "opt_out_rate", **(rows.campaign.paused_evidence or {})}
    assert (alert.kind, alert.subject) == ("campaign_paused", str(rows.campaign.id))
    assert alert.detail.endswith(context["sentence"])
    assert (alert.context, alert.resolved_at) == (context, None)
    assert (entry.actor, entry.action) == ("worker", "pause_campaign")
    assert (entry.subject, entry.detail) == (str(rows.campaign.id), context)


async def test_each_check_pauses_one_campaign(session: AsyncSession, new_uow: NewUow) -> None:
    first = await make_campaign_rows(session)
    second = Rows(session, await make_other_campaign(session, first.campaign))
    add_opt_outs(first, 100)
    add_opt_outs(second, 100)
    await session.commit()

    changed = []
    for _ in range(3):
        async with new_uow() as uow:
            changed.append(await check_figures(uow, now=NOW))

    assert changed == [*sorted([first.campaign.id, second.campaign.id]), None]


async def make_other_campaign(session: AsyncSession, campaign: Campaign) -> Campaign:
    """Store another campaign on the same line."""
    other = await make_campaign(session, line=await session.get_one(Line, campaign.line_id))
    await session.commit()
    return other


async def test_resume_restarts_the_counts(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_campaign_rows(session, recipients_total=200)
    add_opt_outs(rows, 100)
    rows.add("failed", count=100)
    await run_check(new_uow, rows)

    await resume(new_uow, rows)

    assert (rows.campaign.paused_reason, rows.campaign.paused_evidence) == (None, None)
    assert not await run_check(new_uow, rows)
    (alert,) = await read_table(session, "alert")
    assert alert.resolved_at == NOW


async def test_resumed_campaign_pauses_again_for_its_new_messages(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session, recipients_total=300)
    add_opt_outs(rows, 100)
    await run_check(new_uow, rows)
    await resume(new_uow, rows)

    rows.add("sent", count=87)
    rows.add_called(13, called_at=LATER, opted_out_at=LATER, replied_at=LATER)
    assert await run_check(new_uow, rows, now=LATER)

    evidence = rows.campaign.paused_evidence or {}
    assert (evidence["texts"], evidence["opted_out"]) == (100, 13)
    (alert,) = await read_table(session, "alert")
    assert (alert._mapping["count"], alert.resolved_at) == (2, None)


async def test_late_results_of_messages_from_before_a_resume_do_not_count(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session, recipients_total=500)
    early = rows.add_called(200, called_at=NOW)
    add_opt_outs(rows, 100)
    await run_check(new_uow, rows)
    await resume(new_uow, rows, now=NOW + timedelta(minutes=1))

    for member in early[:90]:
        member.status = "failed"
    for member in early[90:]:
        member.opted_out_at = member.replied_at = LATER
    rows.add("sent", count=110)
    assert not await run_check(new_uow, rows, now=LATER)

    rows.add_called(90, "failed", called_at=LATER)
    assert await run_check(new_uow, rows, now=LATER)
    evidence = rows.campaign.paused_evidence or {}
    assert (rows.campaign.paused_reason, evidence["failed"]) == ("failure_rate", 90)
    assert evidence["texts"] == 200


async def test_cancel_resolves_the_alert(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_campaign_rows(session)
    add_opt_outs(rows, 100)
    await run_check(new_uow, rows)

    async with new_uow() as uow:
        await campaigns.cancel_campaign(uow, campaign_id=rows.campaign.id, now=LATER)

    (alert,) = await read_table(session, "alert")
    assert alert.resolved_at == LATER


async def test_figures_read_before_a_resume_do_not_pause_the_campaign(
    committed_uow: NewUow, committed_db: AsyncEngine
) -> None:
    async with committed_uow() as uow:
        rows = await make_campaign_rows(uow.session, recipients_total=100)
        add_opt_outs(rows, 100)
    campaign_id = rows.campaign.id

    async def check() -> UUID | None:
        async with committed_uow() as uow:
            return await check_figures(uow, now=NOW)

    async with committed_uow() as uow:
        await campaigns.pause_campaign(uow, campaign_id=campaign_id, now=NOW)
        await campaigns.resume_campaign(uow, campaign_id=campaign_id, now=NOW)
        waiting = await blocked(committed_db, check())

    assert await waiting is None


async def test_concurrent_workers_pause_a_campaign_once(
    committed_uow: NewUow, committed_db: AsyncEngine
) -> None:
    async with committed_uow() as uow:
        add_opt_outs(await make_campaign_rows(uow.session), 100)

    async def check() -> UUID | None:
        async with committed_uow() as uow:
            return await check_figures(uow, now=NOW)

    async with committed_uow() as uow:
        first = await check_figures(uow, now=NOW)
        waiting = await blocked(committed_db, check())

    assert first is not None
    assert await waiting is None
    async with committed_uow() as uow:
        assert len(await read_table(uow.session, "audit_log")) == 1


def add_variant_results(
    rows: Rows, variant: int, *, texts: int, replies: int = 0, out: int = 0
) -> None:
    """Add recipients of a variant: ``replies`` of them replied, and ``out`` others opted out."""
    rows.add("sent", count=texts - replies - out, variant=variant)
    rows.add("sent", count=replies, variant=variant, replied_at=NOW)
    add_opt_outs(rows, out, variant=variant)


async def read_stop_reasons(session: AsyncSession) -> dict[str, str | None]:
    """Return why each variant was stopped; None for a variant that is not stopped."""
    found = await session.execute(
        text("SELECT name, stopped_at, stopped_reason FROM campaign_variant ORDER BY position")
    )
    return {row.name: row.stopped_at and row.stopped_reason for row in found}


async def test_harmful_variant_is_stopped(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_campaign_rows(session, bodies=("A", "B"), ab_test=HARMFUL)
    add_variant_results(rows, 0, texts=600, replies=60, out=2)
    add_variant_results(rows, 1, texts=600, replies=60, out=30)

    assert await run_check(new_uow, rows)

    assert await read_stop_reasons(session) == {"V0": None, "V1": "harmful"}
    assert rows.campaign.status == "running"
    (entry,) = await read_table(session, "audit_log")
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


async def test_other_variants_are_stopped_if_one_wins(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session, bodies=("A", "B", "C"), ab_test=WINNER)
    add_variant_results(rows, 0, texts=400, replies=20)
    add_variant_results(rows, 1, texts=400, replies=90)
    add_variant_results(rows, 2, texts=400, replies=22)

    assert await run_check(new_uow, rows)

    assert await read_stop_reasons(session) == {"V0": "lost", "V1": None, "V2": "lost"}
    entries = await read_table(session, "audit_log")
    assert [entry.detail["variant"] for entry in entries] == ["V0", "V2"]
    assert {entry.detail["winner"] for entry in entries} == {"V1"}
    assert all(0 < float(entry.detail["p_value"]) <= 0.05 for entry in entries)


async def test_stopping_a_variant_withdraws_its_claims(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session, bodies=("A", "B"), ab_test=HARMFUL)
    add_variant_results(rows, 0, texts=600)
    add_variant_results(rows, 1, texts=600, out=30)
    (claimed,) = rows.add("sending", variant=1)
    rows.add_attempt(claimed, "claimed", called_at=None)

    await run_check(new_uow, rows)

    await session.refresh(claimed)
    (attempt_row,) = await read_table(session, "send_attempt")
    assert (claimed.status, attempt_row.status) == ("pending", "released")


@pytest.mark.parametrize(
    "ab_test",
    [None, {}, WINNER, {**HARMFUL, "stop_harmful": False}, {**HARMFUL, "min_per_variant": 601}],
)
async def test_harmful_variant_continues_without_the_option_or_evidence(
    session: AsyncSession, new_uow: NewUow, ab_test: dict[str, Any] | None
) -> None:
    rows = await make_campaign_rows(session, bodies=("A", "B"), ab_test=ab_test)
    add_variant_results(rows, 0, texts=600, replies=60, out=2)
    add_variant_results(rows, 1, texts=600, replies=60, out=30)

    assert not await run_check(new_uow, rows)


@pytest.mark.parametrize("ab_test", [None, {}, HARMFUL, {**WINNER, "min_per_variant": 401}])
async def test_losing_variant_continues_without_the_option_or_evidence(
    session: AsyncSession, new_uow: NewUow, ab_test: dict[str, Any] | None
) -> None:
    rows = await make_campaign_rows(session, bodies=("A", "B"), ab_test=ab_test)
    add_variant_results(rows, 0, texts=400, replies=20)
    add_variant_results(rows, 1, texts=400, replies=90)

    assert not await run_check(new_uow, rows)


async def test_variant_does_not_win_by_opt_outs(session: AsyncSession, new_uow: NewUow) -> None:
    rows = await make_campaign_rows(
        session, bodies=("A", "B"), ab_test=WINNER, max_opt_out_rate=null()
    )
    add_variant_results(rows, 0, texts=400, out=10)
    add_variant_results(rows, 1, texts=400, out=90)

    assert not await run_check(new_uow, rows)


async def test_replies_to_follow_ups_do_not_decide_the_ab_test(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session, bodies=("A", "B"), ab_test=WINNER)
    add_variant_results(rows, 0, texts=400, replies=20)
    add_variant_results(rows, 1, texts=400, replies=20)
    rows.add("sent", count=90, step=1, variant=1, replied_at=NOW)

    assert not await run_check(new_uow, rows)


async def test_variant_without_weight_is_not_compared(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await make_campaign_rows(session, bodies=("A", "B", "C"), ab_test=WINNER)
    await session.execute(text("UPDATE campaign_variant SET weight = 0 WHERE name = 'V2'"))
    add_variant_results(rows, 0, texts=400, replies=20)
    add_variant_results(rows, 1, texts=400, replies=90)

    assert await run_check(new_uow, rows)

    assert await read_stop_reasons(session) == {"V0": "lost", "V1": None, "V2": None}


async def test_last_variant_is_never_stopped(
    committed_uow: NewUow, committed_db: AsyncEngine
) -> None:
    """Test that V0 is not stopped after another worker has stopped V1.

    Both workers read the figures at the same time, and each would stop a different variant.
    """
    async with committed_uow() as uow:
        rows = await make_campaign_rows(uow.session, bodies=("A", "B"), ab_test=WINNER)
        add_variant_results(rows, 0, texts=400, replies=20)
        add_variant_results(rows, 1, texts=400, replies=90)

    async def check() -> UUID | None:
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
        waiting = await blocked(committed_db, check())

    assert await waiting is None
    async with committed_uow() as uow:
        assert await read_stop_reasons(uow.session) == {"V0": None, "V1": "harmful"}

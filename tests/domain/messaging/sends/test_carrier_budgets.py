"""Carrier budgets limit the company's segments per day over all lines; the claim counts them."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import BUSINESS, TIMES, Ledger, after
from tests.factories import make_line, number
from tests.locks import blocked

from crm_api.domain.campaigns.explain.explanation import ExplanationRead
from crm_api.domain.campaigns.explain.service import explain_recipient
from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.company.carriers import carrier_day
from crm_api.domain.messaging.models.lines import CompanySettings
from crm_api.domain.messaging.sends import carrier_budgets, usage
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory

ONE_SEGMENT = "Hi there, this is Granite. Reply STOP to opt out."
TWO_SEGMENTS = "x" * 161
T_MOBILE, ATT = "T-Mobile USA, Inc.", "AT&T Wireless"
DIFFERENCES = """
    SELECT carrier, quarter, sum(segments) AS surplus FROM (
        SELECT carrier, quarter, segments FROM carrier_tally
        UNION ALL
        SELECT carrier, date_bin('15 minutes', accepted_at, '2000-01-01Z'), -segments
        FROM send_attempt WHERE accepted_at IS NOT NULL
    ) both_sides
    GROUP BY carrier, quarter HAVING sum(segments) <> 0
"""


async def declare_budgets(new_uow: UnitOfWorkFactory, *, others: int = 0, **budgets: int) -> None:
    vendors = [{"name": "Reviews Inc", "daily_segments": others}] if others else []
    declared = {
        carrier: {"daily_segments": segments, "other_vendors": vendors}
        for carrier, segments in budgets.items()
    }
    values = {"id": 1, "carrier_budgets": declared, "updated_at": NOW}
    async with new_uow() as uow:
        statement = insert(CompanySettings).values(**values)
        await uow.session.execute(
            statement.on_conflict_do_update(index_elements=["id"], set_=values)
        )


async def store_carriers(new_uow: UnitOfWorkFactory, **carriers: tuple[int, ...]) -> None:
    """Store the carriers of numbers: each keyword is a carrier with positions of numbers."""
    names = {"t_mobile": T_MOBILE, "att": ATT}
    async with new_uow() as uow:
        for carrier, positions in carriers.items():
            for position in positions:
                await uow.session.execute(
                    text("""
                        INSERT INTO phone_lookup (phone, line_type, carrier, source, checked_at,
                            expires_at)
                        VALUES (:phone, 'mobile', :carrier, 'test', :now, :now)
                    """),
                    {"phone": number(position), "carrier": names[carrier], "now": NOW},
                )


def phones(claimed: list[ClaimedAttempt]) -> list[str]:
    return sorted(one.phone for one in claimed)


async def claim_all(ledger: Ledger) -> int:
    """Claim five times, because a claim skips busy numbers; return the number of claims."""
    claimed = 0
    for _ in range(5):
        claimed += len(await ledger.claim())
    return claimed


async def explain(ledger: Ledger, position: int, **values: Any) -> ExplanationRead:
    async with ledger.new_uow() as uow:
        contact_id = await uow.session.scalar(
            text("SELECT id FROM contact WHERE phone = :phone"), {"phone": number(position)}
        )
        return await explain_recipient(
            uow,
            campaign_id=ledger.campaign.id,
            contact_id=contact_id,
            step=None,
            rules=NO_RULES,
            business=BUSINESS,
            times=TIMES,
            now=values.get("now", NOW),
        )


async def test_nothing_is_limited_without_a_declared_budget(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    await store_carriers(new_uow, t_mobile=(0, 1, 2))

    assert len(await ledger.claim()) == 3


async def test_claim_takes_no_more_segments_than_the_budget(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=5, bodies=(TWO_SEGMENTS,))
    await store_carriers(new_uow, t_mobile=(0, 1, 2, 3, 4))
    await declare_budgets(new_uow, t_mobile=9, others=4)

    claimed = await ledger.claim()

    assert len(claimed) == 2
    rows = await ledger.rows("SELECT DISTINCT segments, carrier FROM send_attempt")
    assert [(row.segments, row.carrier) for row in rows] == [(2, "t_mobile")]


async def test_used_up_budget_does_not_stop_other_carriers(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=6)
    await store_carriers(new_uow, t_mobile=(0, 1, 2, 3), att=(4, 5))
    await declare_budgets(new_uow, t_mobile=1)

    first = await ledger.claim(limit=1)
    others = await ledger.claim(limit=2)

    assert phones(first) == [number(0)]
    assert phones(others) == [number(4), number(5)]


async def test_unknown_carrier_counts_against_the_strictest_budget(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=8)
    await store_carriers(new_uow, t_mobile=(0, 1), att=(2, 3))
    await declare_budgets(new_uow, t_mobile=50, att=4)

    claimed = await ledger.claim()

    # Two numbers of AT&T and two of the four numbers with an unknown carrier use the budget of 4
    # segments. The two numbers of T-Mobile have a larger budget.
    assert len(claimed) == 6
    assert {number(0), number(1), number(2), number(3)} < set(phones(claimed))


async def test_budget_is_shared_by_all_lines_of_the_company(new_uow: UnitOfWorkFactory) -> None:
    first = await Ledger.open(new_uow, people=2)
    async with new_uow() as uow:
        line = await make_line(uow.session, phone_number_id="PNother", line_number="+16175550190")
    second = await Ledger.open(new_uow, people=4, line=line)
    await declare_budgets(new_uow, t_mobile=3)

    assert len(await first.claim()) == 2
    assert await claim_all(second) == 1


async def test_two_lines_at_the_same_moment_do_not_exceed_the_budget(
    committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    """Test that the second claim counts the segments that the first claim took.

    The second claim waits for its lock in one statement, and counts in a later statement.
    """
    first = await Ledger.open(committed_uow, people=3)
    async with committed_uow() as uow:
        line = await make_line(uow.session, phone_number_id="PNother", line_number="+16175550190")
    second = await Ledger.open(committed_uow, people=6, line=line)
    await declare_budgets(committed_uow, t_mobile=4)

    async with committed_uow() as uow:
        taken = (await first.claim_in(uow)).claimed
        waiting = await blocked(committed_db, claim_all(second))

    assert (len(taken), await waiting) == (3, 1)


async def test_segments_of_a_refused_message_are_free_again(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=4)
    await declare_budgets(new_uow, t_mobile=2)
    called = await ledger.begin_calls()

    await ledger.answer(called[0], ResponseKind.REFUSED, code="bad_number")

    assert len(called) == 2
    assert len(await ledger.claim(now=after(3700))) == 1


async def test_accepted_segments_count_on_the_carriers_day(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=6)
    await declare_budgets(new_uow, t_mobile=2)
    for position, claimed in enumerate(await ledger.begin_calls()):
        await ledger.accept(claimed, f"AC{position}")
    _, ends_at = carrier_day(NOW)

    assert await ledger.claim(now=ends_at - timedelta(hours=8)) == []
    assert len(await ledger.claim(now=ends_at + timedelta(hours=8))) == 2
    assert await ledger.rows(DIFFERENCES) == []


DAY_BEGINS, DAY_ENDS = carrier_day(NOW)
MOMENT = timedelta(milliseconds=1)


@pytest.mark.parametrize("status", ["parked", "not_found"])
@pytest.mark.parametrize(
    ("called_at", "counted"),
    [
        (DAY_BEGINS - TIMES.grace, 0),
        (DAY_BEGINS - TIMES.grace + MOMENT, 1),
        (DAY_ENDS - MOMENT, 1),
        (DAY_ENDS, 0),
    ],
)
async def test_unclear_message_counts_on_every_carrier_day_its_window_touches(
    new_uow: UnitOfWorkFactory, status: str, called_at: datetime, counted: int
) -> None:
    ledger = await Ledger.open(new_uow)
    await declare_budgets(new_uow, t_mobile=10)
    await ledger.begin_calls()

    await ledger.run(
        "UPDATE send_attempt SET status = :status, called_at = :called, created_at = :created",
        status=status,
        called=called_at,
        created=called_at - timedelta(minutes=59),
    )

    assert await segments_left(new_uow) == {"t_mobile": 10 - counted}


async def test_manual_messages_count_against_the_budget(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=2)
    await declare_budgets(new_uow, t_mobile=1)
    await ledger.run(
        """
        INSERT INTO send_attempt (id, kind, line_id, activity_id, phone, body, status, accepted_at,
            segments, carrier, created_at, updated_at)
        VALUES (uuid_v7(), 'manual', :line_id, uuid_v7(), '+16175550199', 'Hi', 'sent', :now,
            3, 't_mobile', :now, :now)
        """,
        line_id=ledger.line.id,
        now=NOW,
    )

    assert await ledger.claim() == []


async def wake(new_uow: UnitOfWorkFactory, *, now: datetime) -> int:
    async with new_uow() as uow:
        return await carrier_budgets.wake_held_recipients(uow, grace=TIMES.grace, now=now)


async def versions(ledger: Ledger) -> dict[str, str]:
    """Return the row version (``ctid``) of each recipient; each write changes it."""
    rows = await ledger.rows("SELECT phone, ctid::text AS at FROM campaign_membership")
    return {row.phone: row.at for row in rows}


class TestHeldRecipients:
    async def test_check_writes_nothing_while_the_budget_is_used_up(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        ledger = await Ledger.open(new_uow, people=4)
        await store_carriers(new_uow, t_mobile=(0, 1, 2))
        await declare_budgets(new_uow, t_mobile=1)
        await claim_all(ledger)
        before = await versions(ledger)

        for hours in (1, 2, 3):
            assert await wake(new_uow, now=after(3600 * hours)) == 0
            assert await ledger.claim(now=after(3600 * hours)) == []

        assert await versions(ledger) == before

    async def test_raised_budget_wakes_as_many_recipients_as_it_has_room_for(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        ledger = await Ledger.open(new_uow, people=6)
        await declare_budgets(new_uow, t_mobile=1)
        assert len(await ledger.claim()) == 1
        await claim_all(ledger)
        await declare_budgets(new_uow, t_mobile=3)

        assert await wake(new_uow, now=after(3600)) == 2

        assert len(await ledger.claim(now=after(3600))) == 2

    async def test_learned_carrier_wakes_its_recipients(self, new_uow: UnitOfWorkFactory) -> None:
        ledger = await Ledger.open(new_uow, people=4)
        await declare_budgets(new_uow, t_mobile=1)
        await claim_all(ledger)
        await store_carriers(new_uow, att=(2, 3))

        assert await wake(new_uow, now=after(3600)) == 2

        assert phones(await ledger.claim(now=after(3600))) == [number(2), number(3)]

    async def test_removed_budget_wakes_all_recipients(self, new_uow: UnitOfWorkFactory) -> None:
        ledger = await Ledger.open(new_uow, people=4)
        await declare_budgets(new_uow, t_mobile=1)
        await claim_all(ledger)
        await declare_budgets(new_uow)

        assert await wake(new_uow, now=after(3600)) == 3

        assert len(await ledger.claim(now=after(3600))) == 3


async def test_tally_follows_every_write(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=4)
    for position, claimed in enumerate(await ledger.begin_calls()):
        at = NOW - timedelta(hours=9 * position)
        await ledger.run(
            "UPDATE send_attempt SET called_at = :at WHERE id = :id", at=at, id=claimed.attempt_id
        )
        await ledger.accept(claimed, f"AC{position}", at=at, now=at)
    assert await ledger.rows(DIFFERENCES) == []

    await ledger.run("UPDATE send_attempt SET accepted_at = NULL WHERE provider_message_id = 'AC1'")
    await ledger.run("DELETE FROM send_attempt WHERE provider_message_id = 'AC2'")
    assert await ledger.rows(DIFFERENCES) == []


async def test_compacted_tally_has_the_same_totals(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    for position, claimed in enumerate(await ledger.begin_calls()):
        await ledger.accept(claimed, f"AC{position}")
    for _ in range(150):
        await ledger.run("UPDATE send_attempt SET accepted_at = NULL")
        await ledger.run("UPDATE send_attempt SET accepted_at = :now", now=NOW)

    async with new_uow() as uow:
        await usage.compact_tally(uow, now=NOW)

    (after_compaction,) = await ledger.rows("SELECT count(*) AS number FROM carrier_tally")
    assert after_compaction.number == 1
    assert await ledger.rows(DIFFERENCES) == []


async def test_row_written_by_an_older_release_counts_as_an_unknown_carrier(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=1)
    await declare_budgets(new_uow, att=10)
    await ledger.run(
        """
        INSERT INTO send_attempt (id, kind, line_id, activity_id, phone, body, status, accepted_at,
            created_at, updated_at)
        VALUES (uuid_v7(), 'campaign', :line_id, uuid_v7(), '+16175550199', repeat('x', 100),
            'sent', :now, :now, :now)
        """,
        line_id=ledger.line.id,
        now=NOW,
    )

    assert await segments_left(new_uow) == {"att": 8}


async def segments_left(new_uow: UnitOfWorkFactory) -> dict[str, int]:
    async with new_uow() as uow:
        room = await carrier_budgets.read_carrier_room(uow, grace=TIMES.grace, now=NOW)
    assert room is not None
    return room.left


async def test_explain_names_the_budget_until_the_carriers_day_ends(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=3)
    await store_carriers(new_uow, t_mobile=(0, 1))
    await declare_budgets(new_uow, t_mobile=1)
    await ledger.claim(limit=1)

    known, unknown = await explain(ledger, 1), await explain(ledger, 2)

    stops = {stop.rule: stop for stop in known.stops}
    assert stops["carrier_budget"].until == carrier_day(NOW)[1]
    assert "0 are left" in stops["carrier_budget"].detail
    assert not known.would_send_now
    assert "strictest" in next(s.detail for s in unknown.stops if s.rule == "carrier_budget")


async def test_message_larger_than_the_whole_budget_has_no_next_allowed_time(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=1, bodies=(TWO_SEGMENTS,))
    await declare_budgets(new_uow, t_mobile=1)

    found = await explain(ledger, 0)

    assert (found.stops[0].rule, found.next_allowed_at) == ("carrier_budget", None)


@pytest.mark.parametrize("limit", [1, 100])
async def test_explain_agrees_with_the_claim(new_uow: UnitOfWorkFactory, limit: int) -> None:
    ledger = await Ledger.open(new_uow, people=5, bodies=(ONE_SEGMENT,))
    await store_carriers(new_uow, t_mobile=(0, 1), att=(2, 3))
    await declare_budgets(new_uow, t_mobile=1, att=2)

    while await ledger.claim(limit=limit):
        pass
    waiting = [
        row.phone
        for row in await ledger.rows(
            "SELECT phone FROM campaign_membership WHERE status = 'pending' ORDER BY phone"
        )
    ]
    for position in range(5):
        found = await explain(ledger, position)
        is_held = any(stop.rule == "carrier_budget" for stop in found.stops)
        assert is_held or number(position) not in waiting

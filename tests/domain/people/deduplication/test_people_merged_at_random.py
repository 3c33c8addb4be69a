"""Random sequences of merges, undos, STOPs and campaigns, compared with a simple model.

For a long run: ``MERGING_SEED=7 MERGING_EXAMPLES=500 pytest tests/domain/people/deduplication``.
"""

import asyncio
import os
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW, SECRET, empty_tables
from tests.domain.messaging.sends.ledger import Ledger
from tests.domain.people.deduplication.people import merge, unmerge
from tests.factories import make_contact, make_line, make_member, number
from tests.fakes import RecordingQueue

from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends import matching
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.deduplication.errors import MergeNotUndoableError
from crm_api.domain.people.deduplication.field_merge import content_of
from crm_api.domain.people.models.deduplication import ContactMerge
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, create_engine, session_factory

PEOPLE = 4
EXAMPLES = int(os.environ.get("MERGING_EXAMPLES", "6"))
POSITION = st.integers(0, PEOPLE - 1)
ACTION = st.one_of(
    st.tuples(st.just("start"), st.sets(POSITION, min_size=1)),
    st.tuples(st.just("merge"), POSITION, POSITION),
    st.tuples(st.just("merge"), POSITION, POSITION),
    st.tuples(st.just("undo"), st.integers(0, 3)),
    st.tuples(st.just("stop"), POSITION),
    st.tuples(st.just("send"), st.integers(1, 3), st.sampled_from(["accepted", "unclear"])),
    st.tuples(st.just("send"), st.integers(1, 3), st.sampled_from(["accepted", "unclear"])),
    st.tuples(st.just("settle")),
)
FOLLOW_UPS = [{"after_hours": 0.001, "body": "Did you see my text?"}]


class ModelledService:
    """The service, and a simple model of the merged numbers and of the messages to each of them."""

    def __init__(self, engine: AsyncEngine, line: Line) -> None:
        sessions = session_factory(engine)
        self.new_uow: UnitOfWorkFactory = lambda: UnitOfWork(sessions, RecordingQueue())
        self.line = line
        self.now = NOW
        self.group = {position: {position} for position in range(PEOPLE)}
        self.head = {position: position for position in range(PEOPLE)}
        self.stopped: set[int] = set()
        self.messaged: dict[tuple[UUID, int], set[int]] = {}
        self.merges: list[tuple[ContactMerge, int, int, dict[int, Any]]] = []
        self.ledgers: dict[UUID, Ledger] = {}
        self.count = 0

    async def run(self, action: Sequence[Any]) -> None:
        self.now += timedelta(seconds=10)
        await getattr(self, action[0])(*action[1:])

    async def start(self, positions: set[int]) -> None:
        heads = sorted({self.head[position] for position in positions})
        ledger = await Ledger.open(
            self.new_uow, people=0, line=self.line, follow_ups=FOLLOW_UPS, now=self.now
        )
        async with self.new_uow() as uow:
            campaign = await uow.session.get(Campaign, ledger.campaign.id)
            assert campaign is not None
            for head in heads:
                found = await contacts.get_contact_by_phone(uow, phone=number(head), now=self.now)
                if head not in self.stopped:  # the audience leaves out opted-out numbers
                    await make_member(
                        uow.session, campaign=campaign, contact=found.contact, now=self.now
                    )
        self.ledgers[ledger.campaign.id] = ledger

    async def merge(self, primary: int, duplicate: int) -> None:
        primary_head, duplicate_head = self.head[primary], self.head[duplicate]
        if primary_head == duplicate_head:
            return
        before = {duplicate_head: await self.read_content(duplicate_head)}
        made = await merge(self.new_uow, primary_head, duplicate_head, now=self.now)
        numbers = self.group[primary_head] | self.group[duplicate_head]
        if numbers & self.stopped:
            self.stopped |= numbers
        self.merges.append((made, primary_head, duplicate_head, before))
        self.regroup(primary_head, numbers)

    async def undo(self, offset: int) -> None:
        if not self.merges:
            return
        made, primary_head, duplicate_head, before = self.merges.pop(-1 - offset % len(self.merges))
        if self.head[primary_head] != primary_head:
            with pytest.raises(MergeNotUndoableError):
                await unmerge(self.new_uow, made, now=self.now)
            return
        await unmerge(self.new_uow, made, now=self.now)
        ids = {number(position): position for position in range(PEOPLE)}
        async with self.new_uow() as uow:
            rows = await uow.session.execute(
                text(
                    "SELECT d.phone, p.phone AS head FROM contact d "
                    "LEFT JOIN contact p ON p.id = d.merged_into"
                )
            )
            heads = {ids[row.phone]: ids[row.head or row.phone] for row in rows}
        assert heads[duplicate_head] == duplicate_head
        self.head = heads
        self.group = {
            position: {one for one in heads if heads[one] == heads[position]} for position in heads
        }
        assert await self.read_content(duplicate_head) == before[duplicate_head]

    async def stop(self, position: int) -> None:
        async with self.new_uow() as uow:
            await consent.opt_out(
                uow,
                phone=number(position),
                contact_id=None,
                source=ConsentSource.MESSAGE,
                actor="person",
                reason="stop",
                now=self.now,
                secret=SECRET.encode(),
            )
        self.stopped |= self.group[position]

    async def send(self, limit: int, outcome: str) -> None:
        for ledger in self.ledgers.values():
            for claimed in await ledger.begin_calls(limit=limit, now=self.now):
                await self.check(ledger, claimed)
                self.count += 1
                if outcome == "accepted":
                    await ledger.accept(claimed, f"AC{self.count}", at=self.now, now=self.now)
                else:
                    await ledger.answer(claimed, ResponseKind.UNCLEAR, code="timeout", now=self.now)

    async def settle(self) -> None:
        """Settle all unclear attempts as not found, which means that they sent nothing."""
        async with self.new_uow() as uow:
            unknown = await matching.list_unknown_attempts(uow, limit=100)
        for later in (700, 800):
            for row in unknown:
                assert row.campaign_id is not None
                ledger = self.ledgers[row.campaign_id]
                async with self.new_uow() as uow:
                    rows = {
                        one.id: one for one in await matching.list_unknown_attempts(uow, limit=100)
                    }
                await ledger.conclude(rows[row.id], begun_at=self.now + timedelta(seconds=later))
        for row in unknown:
            assert row.campaign_id is not None
            step = await self.read_step(row.id)
            self.messaged[row.campaign_id, step].discard(self.position(row.phone))
        self.now += timedelta(seconds=900)

    async def check(self, ledger: Ledger, claimed: ClaimedAttempt) -> None:
        """Check that a claimed message is allowed: not after a STOP, and no step twice to a person.

        A STOP from any number of the person counts.
        """
        position = self.position(claimed.phone)
        step = await self.read_step(claimed.attempt_id)
        before = self.messaged.setdefault((ledger.campaign.id, step), set())
        assert position not in self.stopped, "a message after a STOP"
        assert self.head[position] == position, "a message to a merged number"
        assert not before & self.group[position], "a step twice"
        before.add(position)

    async def read_step(self, attempt_id: UUID) -> int:
        async with self.new_uow() as uow:
            step: int = await uow.session.scalar(
                text(
                    "SELECT m.step FROM send_attempt a "
                    "JOIN campaign_membership m ON m.id = a.membership_id WHERE a.id = :id"
                ),
                {"id": attempt_id},
            )
        return step

    async def read_content(self, position: int) -> dict[str, Any]:
        async with self.new_uow() as uow:
            found = await contacts.get_contact_by_phone(uow, phone=number(position), now=self.now)
            return content_of(found.contact)

    def position(self, phone: str) -> int:
        return next(position for position in range(PEOPLE) if number(position) == phone)

    def regroup(self, head: int, numbers: set[int]) -> None:
        for position in numbers:
            self.group[position] = numbers
            self.head[position] = head

    async def check_flags(self) -> None:
        async with self.new_uow() as uow:
            phones = await uow.session.scalars(
                text("SELECT phone FROM contact_flag WHERE flag_type = 'opted_out'")
            )
            flagged = {self.position(phone) for phone in phones}
        assert flagged == self.stopped


async def run_actions(engine: AsyncEngine, actions: Sequence[Sequence[Any]], now: datetime) -> None:
    await empty_tables(engine)
    sessions = session_factory(engine)
    async with UnitOfWork(sessions, RecordingQueue()) as uow:
        line = await make_line(uow.session, daily_limit=10_000, now=now)
        for position in range(PEOPLE):
            await make_contact(
                uow.session,
                phone=number(position),
                first_name=None if position % 2 else f"Ada{position}",
                last_name=f"Rossi{position}" if position % 2 else None,
                tags=["all", f"tag{position}"],
                attributes={"all": position, f"own{position}": position},
            )
    model = ModelledService(engine, line)
    for action in actions:
        await model.run(action)
    await model.check_flags()


@pytest.mark.timeout(0)
def test_no_person_gets_a_step_twice_or_a_message_after_a_stop(
    database_url: str,
    committed_db: AsyncEngine,  # noqa: ARG001 - the fixture empties the tables
) -> None:
    chosen = int(os.environ.get("MERGING_SEED", random.SystemRandom().randrange(2**31)))
    print(f"MERGING_SEED={chosen} MERGING_EXAMPLES={EXAMPLES}")  # noqa: T201 - needed to repeat the run
    with asyncio.Runner() as runner:

        async def open_engine() -> AsyncEngine:
            return create_engine(database_url, pool_size=3)

        engine = runner.run(open_engine())

        @seed(chosen)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(ACTION, min_size=8, max_size=20))
        def run_example(actions: list[tuple[Any, ...]]) -> None:
            runner.run(run_actions(engine, actions, NOW))

        try:
            run_example()
        finally:
            runner.run(engine.dispose())

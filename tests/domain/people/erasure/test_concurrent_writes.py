"""An erasure runs at the same time as transactions that write data of the same person."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import APPLY_SETTINGS
from tests.domain.messaging.sends.ledger import TIMES
from tests.domain.people.erasure.support import KEY, PHONE, find_traces, run_erasure_job
from tests.factories import OFFICE, make_contact, make_line
from tests.locks import blocked

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.inbound.webhook_events import effects
from crm_api.domain.messaging.conversations import user_messages
from crm_api.domain.messaging.conversations.errors import RecipientDoNotContactError
from crm_api.domain.messaging.conversations.schemas import ReplyCreate
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends import gate, queued_claim
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.people.erasure import erase as erasures
from crm_api.domain.people.erasure.records import ErasureBlockedError
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.provider.openphone.facts import EventKind, MessageFacts, ProviderEvent
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.settings import Settings

LATER = NOW + timedelta(seconds=5)


class Person:
    """A person with a contact and a line, and the transactions that run at the same time."""

    def __init__(self, new_uow: UnitOfWorkFactory, contact: Contact, line: Line) -> None:
        self.new_uow = new_uow
        self.contact_id: UUID = contact.id
        self.line = line

    @classmethod
    async def make(cls, new_uow: UnitOfWorkFactory) -> "Person":
        async with new_uow() as uow:
            contact = await make_contact(uow.session, phone=PHONE)
            line = await make_line(uow.session)
        return cls(new_uow, contact, line)

    async def erase_in(self, uow: UnitOfWork) -> None:
        await erasures.erase_contact(
            uow,
            contact_id=self.contact_id,
            reason="asked by letter",
            actor="key",
            now=LATER,
            secret=KEY,
        )

    async def erase(self) -> None:
        async with self.new_uow() as uow:
            await self.erase_in(uow)

    async def reply_in(self, uow: UnitOfWork) -> None:
        body = ReplyCreate(line_id=self.line.id, to="617-555-0142", body="On our way.")
        await user_messages.queue_user_message(
            uow, body, sender=OFFICE, rules=NO_RULES, now=NOW, secret=KEY
        )

    async def reply(self) -> None:
        async with self.new_uow() as uow:
            await self.reply_in(uow)

    async def receive_in(self, uow: UnitOfWork) -> None:
        """Apply a message that the person sent before the erasure."""
        facts = MessageFacts(
            provider_message_id="AC7",
            direction="incoming",
            text="My basement floods",
            status="received",
            from_number=PHONE,
            to_numbers=(self.line.number or "",),
            phone_number_id=self.line.phone_number_id,
            conversation_id=None,
            user_id=None,
            media=(),
            error_code=None,
            created_at=NOW,
            updated_at=None,
        )
        event = ProviderEvent(
            event_id="EV7",
            kind=EventKind.MESSAGE,
            type="message.received",
            created_at=NOW,
            message=facts,
        )
        await effects.apply_facts(uow, [event], now=NOW, apply_settings=APPLY_SETTINGS)

    async def receive(self) -> None:
        async with self.new_uow() as uow:
            await self.receive_in(uow)

    async def claim(self) -> list[ClaimedAttempt]:
        async with self.new_uow() as uow:
            return await queued_claim.claim_queued(
                uow, limit=10, times=TIMES, rules=NO_RULES, now=LATER
            )

    async def find_remaining_traces(self, settings: Settings) -> list[str]:
        """Run the erasure job to its end; return the values that still name the person."""
        for _ in range(3):
            await run_erasure_job(self.new_uow, settings)
        async with self.new_uow() as uow:
            assert await uow.session.scalar(text("SELECT status FROM erasure")) == "completed"
            return await find_traces(uow.session)


@pytest.fixture(name="person")
async def _person(committed_uow: UnitOfWorkFactory) -> Person:
    return await Person.make(committed_uow)


async def test_reply_that_is_being_queued_is_erased_with_the_person(
    person: Person, committed_db: AsyncEngine, settings: Settings
) -> None:
    async with person.new_uow() as uow:
        await person.reply_in(uow)
        waiting = await blocked(committed_db, person.erase())
    await waiting

    assert await person.claim() == []
    assert await person.find_remaining_traces(settings) == []


async def test_reply_concurrent_with_an_erasure_is_refused(
    person: Person, committed_db: AsyncEngine, settings: Settings
) -> None:
    async with person.new_uow() as uow:
        await person.erase_in(uow)
        waiting = await blocked(committed_db, person.reply())

    with pytest.raises(RecipientDoNotContactError):
        await waiting
    assert await person.claim() == []
    assert await person.find_remaining_traces(settings) == []


async def test_claimed_reply_is_withdrawn(person: Person, settings: Settings) -> None:
    await person.reply()
    batch = await person.claim()

    await person.erase()

    async with person.new_uow() as uow:
        passed = await gate.pass_gate(uow, batch, times=TIMES, now=LATER)
    assert (len(batch), passed) == (1, [])
    assert await person.find_remaining_traces(settings) == []


async def test_reply_that_is_being_claimed_is_withdrawn(
    person: Person, committed_db: AsyncEngine, settings: Settings
) -> None:
    await person.reply()
    async with person.new_uow() as uow:
        batch = await queued_claim.claim_queued(
            uow, limit=10, times=TIMES, rules=NO_RULES, now=LATER
        )
        waiting = await blocked(committed_db, person.erase())
    await waiting

    async with person.new_uow() as uow:
        assert await gate.pass_gate(uow, batch, times=TIMES, now=LATER) == []
    assert await person.find_remaining_traces(settings) == []


async def test_reply_that_passes_the_gate_first_blocks_the_erasure(
    person: Person, committed_db: AsyncEngine
) -> None:
    await person.reply()
    batch = await person.claim()
    async with person.new_uow() as uow:
        passed = await gate.pass_gate(uow, batch, times=TIMES, now=LATER)
        waiting = await blocked(committed_db, person.erase())

    with pytest.raises(ErasureBlockedError):
        await waiting
    assert passed == batch


async def test_old_message_that_is_being_stored_is_erased_with_the_person(
    person: Person, committed_db: AsyncEngine, settings: Settings
) -> None:
    async with person.new_uow() as uow:
        await person.receive_in(uow)
        waiting = await blocked(committed_db, person.erase())
    await waiting

    assert await person.find_remaining_traces(settings) == []


async def test_old_message_concurrent_with_an_erasure_is_not_stored(
    person: Person, committed_db: AsyncEngine, settings: Settings
) -> None:
    async with person.new_uow() as uow:
        await person.erase_in(uow)
        waiting = await blocked(committed_db, person.receive())
    await waiting

    assert await person.find_remaining_traces(settings) == []


LATE_ROWS = {
    "activity": "INSERT INTO activity (id, kind, origin, phone, status, occurred_at, created_at, "
    "updated_at) VALUES (uuid_v7(), 'message', 'manual', :phone, 'sent', :now, :now, :now)",
    # The contact id is that of another contact, so only the search for the number finds the row.
    "campaign_membership": "INSERT INTO campaign_membership (id, campaign_id, contact_id, phone, "
    "zone_key, due_at, created_at, updated_at) VALUES (uuid_v7(), uuid_v7(), uuid_v7(), :phone, "
    "'US', :now, :now, :now)",
    "consent_wording": "WITH entry AS (INSERT INTO consent_entry (phone_hash, action, source, "
    "actor, occurred_at, created_at) VALUES ('\\x00', 'opt_out', 'message', 'person', :now, :now) "
    "RETURNING id) INSERT INTO consent_wording (entry_id, phone) SELECT id, :phone FROM entry",
    "contact": "INSERT INTO contact (id, phone, zone_key, created_at, updated_at) "
    "VALUES (uuid_v7(), :phone, 'US', :now, :now)",
    "contact_flag": "INSERT INTO contact_flag (id, phone, flag_type, created_at) "
    "VALUES (uuid_v7(), :phone, 'vip', :now)",
    "conversation": "INSERT INTO conversation (id, line_id, phone, last_activity_at, created_at) "
    "VALUES (uuid_v7(), uuid_v7(), :phone, :now, :now)",
    "number_failure": "INSERT INTO number_failure (id, phone, kind, code, line_id, activity_id, "
    "failed_at, created_at) VALUES (uuid_v7(), :phone, 'stop', '21610', uuid_v7(), uuid_v7(), "
    ":now, :now)",
    "provider_stop": "INSERT INTO provider_stop (id, phone, line_id, code, message_id, "
    "first_failed_at, last_failed_at, created_at, updated_at) VALUES (uuid_v7(), :phone, "
    "uuid_v7(), '21610', uuid_v7(), :now, :now, :now, :now)",
    "phone_lookup": "INSERT INTO phone_lookup (phone, line_type, source, checked_at, expires_at) "
    "VALUES (:phone, 'mobile', 'test', :now, :now)",
    "send_attempt": "INSERT INTO send_attempt (id, line_id, activity_id, phone, body, status, "
    "created_at, updated_at) VALUES (uuid_v7(), uuid_v7(), uuid_v7(), :phone, 'Hi', 'released', "
    ":now, :now)",
}


@pytest.mark.parametrize("table", LATE_ROWS)
async def test_search_erases_rows_written_during_the_erasure(
    person: Person, settings: Settings, table: str
) -> None:
    await person.erase()
    async with person.new_uow() as uow:
        await uow.session.execute(text(LATE_ROWS[table]), {"phone": PHONE, "now": NOW})

    assert await person.find_remaining_traces(settings) == []


async def test_number_added_again_during_the_erasure_is_flagged_by_the_job(
    person: Person, settings: Settings
) -> None:
    await person.erase()
    async with person.new_uow() as uow:
        await make_contact(uow.session, phone=PHONE, now=LATER + timedelta(seconds=1))

    remaining = await person.find_remaining_traces(settings)

    assert {one.partition(":")[0] for one in remaining} == {
        "contact.phone",
        "contact.search_text",
        "contact_flag.phone",
    }

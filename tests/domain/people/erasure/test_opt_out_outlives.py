"""An opt-out survives the erasure of the person: it is stored by the hash of the number."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    RECEPTION,
    incoming,
)
from tests.domain.people.erasure.support import KEY, WorkerDeps
from tests.factories import make_campaign, make_contact, make_line, make_member
from tests.fakes import RecordingQueue
from tests.workers.imports.test_imports import Storage
from tests.workers.imports.test_imports import WorkerDeps as ImportDeps

from crm_api.domain.consent import linking
from crm_api.domain.consent.linking import ChainVerification
from crm_api.domain.consent.models import (
    ConsentEntry,
    ConsentWording,
    ContactFlag,
    hash_phone,
)
from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.provider.openphone.facts import bound_event
from crm_api.domain.provider.openphone.wire import parse_event
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.database_time import read_database_now
from crm_api.platform.jobs import JobName
from crm_api.platform.settings import Settings
from crm_api.workers.imports import run_imports
from crm_api.workers.people import run_erasures

BLOCKED = ["do_not_contact", "opted_out"]
WHY = {"reason": "by letter"}
MINUTE = timedelta(minutes=1)


class Office:
    """A client that erases one person and adds the number again, and messages of the provider."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        session: AsyncSession,
        new_uow: UnitOfWorkFactory,
        settings: Settings,
    ) -> None:
        self.client = client
        self.session = session
        self.new_uow = new_uow
        self.settings = settings

    async def say(self, words: str, *, ago: timedelta = timedelta(0)) -> datetime:
        """Receive now a message that the person sent ``ago`` before; return when it was sent."""
        now = await read_database_now(self.session)
        await self.receive(words, at=now - ago)
        return now - ago

    async def receive(self, words: str, *, at: datetime) -> None:
        event = parse_event(incoming(words, message_id=f"AC {words} {at}", at=at))
        async with self.new_uow() as uow:
            now = await uow.database_now()
            await webhooks.apply_event(uow, event, now=now, reception=RECEPTION)

    async def add(self) -> dict[str, Any]:
        answer = await self.client.post("/v1/contacts", json={"phone": PERSON})
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def load(self) -> dict[str, Any]:
        """Import the number; return the contact."""
        files = {"file": ("people.csv", f"phone\n{PERSON}\n".encode(), "text/csv")}
        await self.client.post("/v1/imports", files=files)
        storage = Storage(self.settings.data_dir)
        await run_imports({"deps": ImportDeps(self.new_uow, storage)})
        found = (await self.client.get("/v1/contacts", params={"phone": PERSON})).json()["data"]
        body: dict[str, Any] = found[0]
        return body

    async def erase(self, contact_id: str) -> None:
        answer = await self.client.post(f"/v1/contacts/{contact_id}/erase", json=WHY)
        assert answer.status_code == 202, answer.text
        await run_erasures({"deps": WorkerDeps(self.new_uow, self.settings)})
        assert await self.flags() == []

    async def lift(self, contact_id: str) -> None:
        answer = await self.client.delete(f"/v1/contacts/{contact_id}/flags/do_not_contact")
        assert answer.status_code == 204, answer.text

    async def flags(self) -> list[str]:
        query = select(ContactFlag.flag_type).where(ContactFlag.phone == PERSON)
        return sorted(await self.session.scalars(query))


@pytest_asyncio.fixture(name="office")
async def _office(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
) -> Office:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return Office(client, session, new_uow, settings)


@pytest_asyncio.fixture(name="stopped")
async def _stopped(office: Office) -> Office:
    """A person sent STOP and was erased."""
    person = await office.add()
    await office.say("STOP", ago=MINUTE)
    await office.erase(person["id"])
    return office


@pytest.mark.parametrize("way", ["add", "load"])
async def test_number_that_is_added_again_is_opted_out(stopped: Office, way: str) -> None:
    contact = await getattr(stopped, way)()

    assert contact["flags"] == BLOCKED


@pytest.mark.parametrize("way", ["add", "load"])
async def test_lifting_the_block_does_not_end_the_opt_out(stopped: Office, way: str) -> None:
    contact = await getattr(stopped, way)()

    await stopped.lift(contact["id"])

    assert await stopped.flags() == ["opted_out"]


async def test_campaign_does_not_message_the_number_after_the_block_is_lifted(
    stopped: Office,
) -> None:
    contact = await make_contact(stopped.session, phone=PERSON)
    campaign = await make_campaign(stopped.session, line=await make_line(stopped.session))
    member = await make_member(stopped.session, campaign=campaign, contact=contact)
    await stopped.session.commit()
    path = f"/v1/contacts/{contact.id}/flags"
    await stopped.client.post(path, json={"flag": "do_not_contact"})

    await stopped.lift(str(contact.id))

    await stopped.session.refresh(member)
    assert (member.status, await stopped.flags()) == ("skipped", ["opted_out"])


async def test_message_that_waits_when_the_opt_out_returns_is_withdrawn(stopped: Office) -> None:
    contact = await make_contact(stopped.session, phone=PERSON)
    campaign = await make_campaign(stopped.session, line=await make_line(stopped.session))
    member = await make_member(stopped.session, campaign=campaign, contact=contact)
    # Only the flag is written, so that nothing else withdraws the message.
    flag = ContactFlag(phone=PERSON, flag_type="do_not_contact", created_at=contact.created_at)
    stopped.session.add(flag)
    await stopped.session.commit()

    await stopped.lift(str(contact.id))

    await stopped.session.refresh(member)
    assert (member.status, member.skip_reason) == ("skipped", "opted_out")


async def test_opt_out_that_returns_replaces_a_hold(stopped: Office) -> None:
    now = await read_database_now(stopped.session)
    hold = ContactFlag(phone=PERSON, flag_type="opt_out_hold", created_at=now)
    stopped.session.add(hold)
    await stopped.session.commit()

    assert (await stopped.add())["flags"] == BLOCKED


async def test_number_that_is_erased_twice_is_still_opted_out(stopped: Office) -> None:
    again = await stopped.add()
    await stopped.lift(again["id"])
    await stopped.erase(again["id"])

    assert (await stopped.add())["flags"] == BLOCKED


async def test_start_ends_the_opt_out(stopped: Office) -> None:
    contact = await stopped.add()

    await stopped.say("START")

    await stopped.lift(contact["id"])
    assert await stopped.flags() == []


async def test_documented_opt_in_ends_the_opt_out(stopped: Office) -> None:
    contact = await stopped.add()
    proof = {"reason": "Signed up again", "source": "web_form", "text_shown": "Yes, text me."}

    await stopped.client.post(f"/v1/contacts/{contact['id']}/opt-in", json=proof)

    await stopped.lift(contact["id"])
    assert await stopped.flags() == []


async def test_hold_returns_with_the_number(office: Office) -> None:
    person = await office.add()
    await office.client.post(f"/v1/contacts/{person['id']}/flags", json={"flag": "opt_out_hold"})
    await office.erase(person["id"])

    assert (await office.add())["flags"] == ["do_not_contact", "opt_out_hold"]


async def test_opt_out_without_a_consent_entry_gets_one(office: Office) -> None:
    person = await office.add()
    now = await read_database_now(office.session)
    office.session.add(ContactFlag(phone=PERSON, flag_type="opted_out", created_at=now))
    await office.session.commit()

    await office.erase(person["id"])

    assert (await office.add())["flags"] == BLOCKED
    entries = list(await office.session.scalars(select(ConsentEntry)))
    assert [(one.action, one.source) for one in entries] == [("opt_out", "api")]
    assert not list(await office.session.scalars(select(ConsentWording)))


async def test_person_without_a_decision_is_only_blocked(office: Office) -> None:
    person = await office.add()

    await office.erase(person["id"])

    again = await office.add()
    assert again["flags"] == ["do_not_contact"]
    await office.lift(again["id"])
    assert await office.flags() == []
    assert not list(await office.session.scalars(select(ConsentEntry)))


class TestMessagesFromBeforeTheErasure:
    """The provider may deliver a message hours late, after the person was erased."""

    async def test_late_stop_counts_and_its_text_is_not_stored(
        self, office: Office, queue: RecordingQueue
    ) -> None:
        person = await office.add()
        said_at = await read_database_now(office.session)
        await office.erase(person["id"])
        assert JobName.SEAL_CONSENT not in queue.names

        await office.receive("STOP", at=said_at)

        assert JobName.SEAL_CONSENT in queue.names
        assert await office.flags() == []
        assert not list(await office.session.scalars(select(ConsentWording)))
        again = await office.add()
        await office.lift(again["id"])
        assert await office.flags() == ["opted_out"]

    async def test_late_stop_reaches_a_number_that_is_in_use_again(self, office: Office) -> None:
        person = await office.add()
        said_at = await read_database_now(office.session)
        await office.erase(person["id"])
        again = await office.add()
        await office.lift(again["id"])

        await office.receive("STOP", at=said_at)

        assert await office.flags() == ["opted_out"]

    async def test_late_stop_ends_the_start_before_it(self, office: Office) -> None:
        person = await office.add()
        await office.say("START", ago=2 * MINUTE)
        said_at = await read_database_now(office.session) - MINUTE
        await office.erase(person["id"])

        await office.receive("STOP", at=said_at)

        assert (await office.add())["flags"] == BLOCKED

    async def test_stop_that_a_start_ended_does_not_return(self, office: Office) -> None:
        person = await office.add()
        said_at = await office.say("STOP", ago=2 * MINUTE)
        await office.say("START", ago=MINUTE)
        await office.erase(person["id"])

        await office.receive("STOP", at=said_at)

        assert (await office.add())["flags"] == ["do_not_contact"]

    async def test_repeated_delivery_leaves_one_entry(self, office: Office) -> None:
        person = await office.add()
        said_at = await read_database_now(office.session)
        await office.erase(person["id"])

        for _ in range(2):
            await office.receive("STOP", at=said_at)

        assert len(list(await office.session.scalars(select(ConsentEntry)))) == 1

    async def test_repeat_of_an_entry_without_the_providers_time_leaves_one(
        self, office: Office
    ) -> None:
        """Releases before the column ``claimed_at`` stored only when the decision counts."""
        person = await office.add()
        said_at = await read_database_now(office.session)
        values = {"phone_hash": hash_phone(PERSON, KEY), "at": said_at}
        entry = (
            "INSERT INTO consent_entry (phone_hash, action, source, actor, occurred_at, created_at)"
            " VALUES (:phone_hash, 'opt_out', 'message', 'person', :at, :at)"
        )
        await office.session.execute(text(entry), values)
        await office.session.commit()
        await office.erase(person["id"])

        await office.receive("STOP", at=said_at)

        assert len(list(await office.session.scalars(select(ConsentEntry)))) == 1

    async def test_message_dated_ahead_that_is_received_twice_leaves_one_entry(
        self, office: Office
    ) -> None:
        """Each copy counts from its receipt, so only the provider's time is the same."""
        person = await office.add()
        received_at = await read_database_now(office.session)
        await office.erase(person["id"])
        event = parse_event(incoming("STOP", at=received_at + MINUTE))

        for ago in (2 * MINUTE, MINUTE):
            copy = bound_event(event, received_at=received_at - ago)
            async with office.new_uow() as uow:
                now = await uow.database_now()
                await webhooks.apply_event(uow, copy, now=now, reception=RECEPTION)

        assert len(list(await office.session.scalars(select(ConsentEntry)))) == 1

    async def test_chain_is_complete(self, office: Office) -> None:
        person = await office.add()
        said_at = await read_database_now(office.session)
        await office.erase(person["id"])
        await office.receive("STOP", at=said_at)

        async with office.new_uow() as uow:
            await linking.link_entries(uow, secret=KEY)

        found = ChainVerification()
        await linking.verify_links(office.session, found, secret=KEY)
        assert (found.position, found.faults, found.erased) == (1, 0, 1)

    async def test_other_late_messages_leave_nothing(self, office: Office) -> None:
        person = await office.add()
        said_at = await read_database_now(office.session)
        await office.erase(person["id"])

        await office.receive("Are you still in business?", at=said_at)

        query = text(
            "SELECT (SELECT count(*) FROM consent_entry) + (SELECT count(*) FROM contact_flag)"
        )
        assert await office.session.scalar(query) == 0

"""An opt-out survives the erasure of the person, because the hash of the number is stored."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
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
REASON = {"reason": "by letter"}
MINUTE = timedelta(minutes=1)


class PersonClient:
    """A client of the API that adds and erases one person, and receives the person's messages."""

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

    async def receive_message(self, body: str, *, ago: timedelta = timedelta(0)) -> datetime:
        """Receive a message that the person sent ``ago`` before now; return when it was sent."""
        now = await read_database_now(self.session)
        await self.receive_message_at(body, at=now - ago)
        return now - ago

    async def receive_message_at(self, body: str, *, at: datetime) -> None:
        event = parse_event(incoming(body, message_id=f"AC {body} {at}", at=at))
        async with self.new_uow() as uow:
            now = await uow.database_now()
            await webhooks.apply_event(uow, event, now=now, apply_settings=APPLY_SETTINGS)

    async def add(self) -> dict[str, Any]:
        response = await self.client.post("/v1/contacts", json={"phone": PERSON})
        assert response.status_code == 201, response.text
        contact: dict[str, Any] = response.json()
        return contact

    async def load(self) -> dict[str, Any]:
        """Import a file with the person's number; return the contact."""
        files = {"file": ("people.csv", f"phone\n{PERSON}\n".encode(), "text/csv")}
        await self.client.post("/v1/imports", files=files)
        storage = Storage(self.settings.data_dir)
        await run_imports({"deps": ImportDeps(self.new_uow, storage)})
        found = (await self.client.get("/v1/contacts", params={"phone": PERSON})).json()["data"]
        contact: dict[str, Any] = found[0]
        return contact

    async def erase(self, contact_id: str) -> None:
        response = await self.client.post(f"/v1/contacts/{contact_id}/erase", json=REASON)
        assert response.status_code == 202, response.text
        await run_erasures({"deps": WorkerDeps(self.new_uow, self.settings)})
        assert await self.read_flags() == []

    async def lift_block(self, contact_id: str) -> None:
        response = await self.client.delete(f"/v1/contacts/{contact_id}/flags/do_not_contact")
        assert response.status_code == 204, response.text

    async def read_flags(self) -> list[str]:
        query = select(ContactFlag.flag_type).where(ContactFlag.phone == PERSON)
        return sorted(await self.session.scalars(query))


@pytest_asyncio.fixture(name="person_client")
async def _person_client(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
) -> PersonClient:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return PersonClient(client, session, new_uow, settings)


@pytest_asyncio.fixture(name="stopped")
async def _stopped(person_client: PersonClient) -> PersonClient:
    """Return a client whose person sent STOP and was then erased."""
    person = await person_client.add()
    await person_client.receive_message("STOP", ago=MINUTE)
    await person_client.erase(person["id"])
    return person_client


@pytest.mark.parametrize("way", ["add", "load"])
async def test_number_that_is_added_again_is_opted_out(stopped: PersonClient, way: str) -> None:
    contact = await getattr(stopped, way)()

    assert contact["flags"] == BLOCKED


@pytest.mark.parametrize("way", ["add", "load"])
async def test_lifting_the_block_does_not_end_the_opt_out(stopped: PersonClient, way: str) -> None:
    contact = await getattr(stopped, way)()

    await stopped.lift_block(contact["id"])

    assert await stopped.read_flags() == ["opted_out"]


async def test_campaign_does_not_message_the_number_after_the_block_is_lifted(
    stopped: PersonClient,
) -> None:
    contact = await make_contact(stopped.session, phone=PERSON)
    campaign = await make_campaign(stopped.session, line=await make_line(stopped.session))
    member = await make_member(stopped.session, campaign=campaign, contact=contact)
    await stopped.session.commit()
    path = f"/v1/contacts/{contact.id}/flags"
    await stopped.client.post(path, json={"flag": "do_not_contact"})

    await stopped.lift_block(str(contact.id))

    await stopped.session.refresh(member)
    assert (member.status, await stopped.read_flags()) == ("skipped", ["opted_out"])


async def test_waiting_message_is_withdrawn_when_the_opt_out_is_restored(
    stopped: PersonClient,
) -> None:
    contact = await make_contact(stopped.session, phone=PERSON)
    campaign = await make_campaign(stopped.session, line=await make_line(stopped.session))
    member = await make_member(stopped.session, campaign=campaign, contact=contact)
    # Only the flag is written, so only the restored opt-out can withdraw the message.
    flag = ContactFlag(phone=PERSON, flag_type="do_not_contact", created_at=contact.created_at)
    stopped.session.add(flag)
    await stopped.session.commit()

    await stopped.lift_block(str(contact.id))

    await stopped.session.refresh(member)
    assert (member.status, member.skip_reason) == ("skipped", "opted_out")


async def test_restored_opt_out_replaces_a_hold(stopped: PersonClient) -> None:
    now = await read_database_now(stopped.session)
    hold = ContactFlag(phone=PERSON, flag_type="opt_out_hold", created_at=now)
    stopped.session.add(hold)
    await stopped.session.commit()

    assert (await stopped.add())["flags"] == BLOCKED


async def test_number_that_is_erased_twice_is_still_opted_out(stopped: PersonClient) -> None:
    again = await stopped.add()
    await stopped.lift_block(again["id"])
    await stopped.erase(again["id"])

    assert (await stopped.add())["flags"] == BLOCKED


async def test_start_ends_the_opt_out(stopped: PersonClient) -> None:
    contact = await stopped.add()

    await stopped.receive_message("START")

    await stopped.lift_block(contact["id"])
    assert await stopped.read_flags() == []


async def test_documented_opt_in_ends_the_opt_out(stopped: PersonClient) -> None:
    contact = await stopped.add()
    proof = {"reason": "Signed up again", "source": "web_form", "text_shown": "Yes, text me."}

    await stopped.client.post(f"/v1/contacts/{contact['id']}/opt-in", json=proof)

    await stopped.lift_block(contact["id"])
    assert await stopped.read_flags() == []


async def test_hold_is_restored_when_the_number_is_added_again(person_client: PersonClient) -> None:
    person = await person_client.add()
    await person_client.client.post(
        f"/v1/contacts/{person['id']}/flags", json={"flag": "opt_out_hold"}
    )
    await person_client.erase(person["id"])

    assert (await person_client.add())["flags"] == ["do_not_contact", "opt_out_hold"]


async def test_opt_out_without_a_consent_entry_gets_one(person_client: PersonClient) -> None:
    person = await person_client.add()
    now = await read_database_now(person_client.session)
    person_client.session.add(ContactFlag(phone=PERSON, flag_type="opted_out", created_at=now))
    await person_client.session.commit()

    await person_client.erase(person["id"])

    assert (await person_client.add())["flags"] == BLOCKED
    entries = list(await person_client.session.scalars(select(ConsentEntry)))
    assert [(one.action, one.source) for one in entries] == [("opt_out", "api")]
    assert not list(await person_client.session.scalars(select(ConsentWording)))


async def test_person_without_a_decision_is_only_blocked(person_client: PersonClient) -> None:
    person = await person_client.add()

    await person_client.erase(person["id"])

    again = await person_client.add()
    assert again["flags"] == ["do_not_contact"]
    await person_client.lift_block(again["id"])
    assert await person_client.read_flags() == []
    assert not list(await person_client.session.scalars(select(ConsentEntry)))


class TestMessagesFromBeforeTheErasure:
    """Messages from before the erasure, which the provider delivers after the erasure."""

    async def test_late_stop_counts_and_its_text_is_not_stored(
        self, person_client: PersonClient, queue: RecordingQueue
    ) -> None:
        person = await person_client.add()
        sent_at = await read_database_now(person_client.session)
        await person_client.erase(person["id"])
        assert JobName.SEAL_CONSENT not in queue.names

        await person_client.receive_message_at("STOP", at=sent_at)

        assert JobName.SEAL_CONSENT in queue.names
        assert await person_client.read_flags() == []
        assert not list(await person_client.session.scalars(select(ConsentWording)))
        again = await person_client.add()
        await person_client.lift_block(again["id"])
        assert await person_client.read_flags() == ["opted_out"]

    async def test_late_stop_applies_to_a_number_that_was_added_again(
        self, person_client: PersonClient
    ) -> None:
        person = await person_client.add()
        sent_at = await read_database_now(person_client.session)
        await person_client.erase(person["id"])
        again = await person_client.add()
        await person_client.lift_block(again["id"])

        await person_client.receive_message_at("STOP", at=sent_at)

        assert await person_client.read_flags() == ["opted_out"]

    async def test_late_stop_ends_an_earlier_start(self, person_client: PersonClient) -> None:
        person = await person_client.add()
        await person_client.receive_message("START", ago=2 * MINUTE)
        sent_at = await read_database_now(person_client.session) - MINUTE
        await person_client.erase(person["id"])

        await person_client.receive_message_at("STOP", at=sent_at)

        assert (await person_client.add())["flags"] == BLOCKED

    async def test_stop_that_a_start_ended_is_not_restored(
        self, person_client: PersonClient
    ) -> None:
        person = await person_client.add()
        sent_at = await person_client.receive_message("STOP", ago=2 * MINUTE)
        await person_client.receive_message("START", ago=MINUTE)
        await person_client.erase(person["id"])

        await person_client.receive_message_at("STOP", at=sent_at)

        assert (await person_client.add())["flags"] == ["do_not_contact"]

    async def test_repeated_delivery_leaves_one_entry(self, person_client: PersonClient) -> None:
        person = await person_client.add()
        sent_at = await read_database_now(person_client.session)
        await person_client.erase(person["id"])

        for _ in range(2):
            await person_client.receive_message_at("STOP", at=sent_at)

        assert len(list(await person_client.session.scalars(select(ConsentEntry)))) == 1

    async def test_repeated_delivery_of_an_entry_without_provider_time_leaves_one_entry(
        self, person_client: PersonClient
    ) -> None:
        """Test an entry from before the column ``claimed_at`` existed.

        Such an entry has only the time when the decision counts, and no time of the provider.
        """
        person = await person_client.add()
        sent_at = await read_database_now(person_client.session)
        values = {"phone_hash": hash_phone(PERSON, KEY), "at": sent_at}
        entry = (
            "INSERT INTO consent_entry (phone_hash, action, source, actor, occurred_at, created_at)"
            " VALUES (:phone_hash, 'opt_out', 'message', 'person', :at, :at)"
        )
        await person_client.session.execute(text(entry), values)
        await person_client.session.commit()
        await person_client.erase(person["id"])

        await person_client.receive_message_at("STOP", at=sent_at)

        assert len(list(await person_client.session.scalars(select(ConsentEntry)))) == 1

    async def test_message_with_a_future_time_received_twice_leaves_one_entry(
        self, person_client: PersonClient
    ) -> None:
        """Test two copies of a STOP that the provider dated in the future.

        Each copy counts from its own receipt, so only the provider's time is the same in both
        copies.
        """
        person = await person_client.add()
        received_at = await read_database_now(person_client.session)
        await person_client.erase(person["id"])
        event = parse_event(incoming("STOP", at=received_at + MINUTE))

        for ago in (2 * MINUTE, MINUTE):
            copy = bound_event(event, received_at=received_at - ago)
            async with person_client.new_uow() as uow:
                now = await uow.database_now()
                await webhooks.apply_event(uow, copy, now=now, apply_settings=APPLY_SETTINGS)

        assert len(list(await person_client.session.scalars(select(ConsentEntry)))) == 1

    async def test_chain_is_complete(self, person_client: PersonClient) -> None:
        person = await person_client.add()
        sent_at = await read_database_now(person_client.session)
        await person_client.erase(person["id"])
        await person_client.receive_message_at("STOP", at=sent_at)

        async with person_client.new_uow() as uow:
            await linking.link_entries(uow, secret=KEY)

        found = ChainVerification()
        await linking.verify_links(person_client.session, found, secret=KEY)
        assert (found.position, found.faults, found.erased) == (1, 0, 1)

    async def test_other_late_messages_leave_no_entry_and_no_flag(
        self, person_client: PersonClient
    ) -> None:
        person = await person_client.add()
        sent_at = await read_database_now(person_client.session)
        await person_client.erase(person["id"])

        await person_client.receive_message_at("Are you still in business?", at=sent_at)

        query = text(
            "SELECT (SELECT count(*) FROM consent_entry) + (SELECT count(*) FROM contact_flag)"
        )
        assert await person_client.session.scalar(query) == 0

"""An erased number that is added again gets no messages, and its history is not restored."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import APPLY_SETTINGS
from tests.domain.people.erasure.support import (
    KEY,
    OTHER,
    PHONE,
    NewUow,
    PersonIds,
    erase,
    make_person,
)
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.consent.models import ContactFlag, ErasedNumber
from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.inbound.webhook_events.plain_messages import apply_plain_messages
from crm_api.domain.messaging.consent_decisions import erased_numbers
from crm_api.domain.messaging.consent_decisions.erased_numbers import suppress_erased
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.provider.openphone.facts import (
    CallFacts,
    EventKind,
    MessageFacts,
    ProviderEvent,
)
from crm_api.platform.settings import Settings

PROVIDER_LINE = "PNsandbox1"
OWN = "+16175550100"
BEFORE, AFTER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


async def record_erasure_of(new_uow: NewUow, *phones: str, secret: bytes = KEY) -> None:
    """Record that the people with these numbers were erased at ``NOW``."""
    async with new_uow() as uow:
        await erased_numbers.erase_consent_of(uow, phones=phones, now=NOW, secret=secret)


async def read_blocked_numbers(session: AsyncSession) -> dict[str, str | None]:
    rows = await session.scalars(select(ContactFlag).execution_options(populate_existing=True))
    return {row.phone: row.reason for row in rows if row.flag_type == "do_not_contact"}


@pytest_asyncio.fixture(name="person")
async def _person(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: NewUow, settings: Settings
) -> PersonIds:
    person = await make_person(client, session, new_uow, settings)
    await erase(client, person)
    return person


@pytest.mark.usefixtures("person")
async def test_erased_number_that_is_added_again_is_a_new_blocked_contact(
    client: httpx.AsyncClient, person: PersonIds
) -> None:
    added = (await client.post("/v1/contacts", json={"phone": "617 555 0142"})).json()

    assert added["flags"] == ["do_not_contact", "opted_out"]
    assert added["id"] != str(person.contact_id)


@pytest.mark.usefixtures("person")
async def test_erased_number_that_is_added_in_a_batch_is_blocked(client: httpx.AsyncClient) -> None:
    items = [{"op": "create", "contact": {"phone": phone}} for phone in (PHONE, OTHER)]

    response = await client.post("/v1/contacts/batch", json={"items": items})

    made = [one["contact"]["flags"] for one in response.json()["results"]]
    assert made == [["do_not_contact", "opted_out"], []]


@pytest.mark.usefixtures("person")
async def test_user_can_lift_the_block_permanently(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    added = (await client.post("/v1/contacts", json={"phone": PHONE})).json()
    path = f"/v1/contacts/{added['id']}"

    await client.delete(f"{path}/flags/do_not_contact")
    await client.delete(path)
    again = (await client.post("/v1/contacts", json={"phone": PHONE})).json()

    kept = (await session.scalars(select(ErasedNumber))).one()
    assert again["flags"] == ["opted_out"]
    assert kept.lifted_at is not None


@pytest.mark.usefixtures("person")
async def test_number_that_is_erased_again_is_blocked_again(client: httpx.AsyncClient) -> None:
    added = (await client.post("/v1/contacts", json={"phone": PHONE})).json()
    await client.delete(f"/v1/contacts/{added['id']}/flags/do_not_contact")

    await client.post(f"/v1/contacts/{added['id']}/erase", json={"reason": "asked again"})
    third = (await client.post("/v1/contacts", json={"phone": PHONE})).json()

    assert third["flags"] == ["do_not_contact", "opted_out"]


@pytest.mark.usefixtures("person")
async def test_contact_that_changes_to_the_number_gets_no_message(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session, phone_number_id="PN2", line_number="+16175550101")
    campaign = await make_campaign(session, line=line)
    contact = await make_contact(session, phone=OTHER)
    member = await make_member(session, campaign=campaign, contact=contact)
    await session.commit()

    changed = (await client.patch(f"/v1/contacts/{contact.id}", json={"phone": PHONE})).json()

    await session.refresh(member)
    assert changed["flags"] == ["do_not_contact", "opted_out"]
    assert (member.phone, member.status) == (PHONE, "skipped")


@pytest.mark.usefixtures("person")
async def test_manual_message_to_the_number_is_refused(
    client: httpx.AsyncClient, person: PersonIds
) -> None:
    response = await client.post(
        "/v1/messages", json={"line_id": str(person.line_id), "to": PHONE, "body": "Hello?"}
    )

    assert (response.status_code, response.json()["code"]) == (409, "recipient_opted_out")


async def test_other_numbers_are_not_blocked(new_uow: NewUow, session: AsyncSession) -> None:
    await record_erasure_of(new_uow, PHONE)

    async with new_uow() as uow:
        none = await suppress_erased(uow, phones=[], now=NOW, secret=KEY)
        other = await suppress_erased(uow, phones=[OTHER], now=NOW, secret=KEY)
        both = await suppress_erased(uow, phones=[OTHER, PHONE], now=NOW, secret=KEY)

    assert (none, other, both) == (set(), set(), {PHONE})
    assert await read_blocked_numbers(session) == {PHONE: erased_numbers.ERASED_REASON}


def make_message(phone: str, at: datetime, **changes: Any) -> ProviderEvent:
    values: dict[str, Any] = {
        "provider_message_id": f"AC{at:%H}{phone}",
        "direction": "incoming",
        "text": "Are you still in business?",
        "status": "received",
        "from_number": phone,
        "to_numbers": (OWN,),
        "phone_number_id": PROVIDER_LINE,
        "conversation_id": "CN9",
        "user_id": None,
        "media": (),
        "error_code": None,
        "created_at": at,
        "updated_at": None,
    }
    facts = MessageFacts(**values | changes)
    kind = "received" if facts.direction == "incoming" else "delivered"
    return make_event(f"message.{kind}", at, message=facts)


def make_event(
    name: str,
    at: datetime | None,
    *,
    message: MessageFacts | None = None,
    call: CallFacts | None = None,
) -> ProviderEvent:
    return ProviderEvent(
        event_id=f"EV{name}{at}",
        type=name,
        created_at=at,
        kind=EventKind.MESSAGE if message else EventKind.CALL,
        message=message,
        call=call,
    )


async def receive_events(new_uow: NewUow, *events: ProviderEvent) -> None:
    for one in events:
        async with new_uow() as uow:
            await webhooks.apply_event(uow, one, now=AFTER, apply_settings=APPLY_SETTINGS)


async def read_phones(session: AsyncSession) -> list[str | None]:
    rows = await session.scalars(select(Activity.phone).order_by(Activity.occurred_at))
    return list(rows)


@pytest_asyncio.fixture
async def _line(session: AsyncSession) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN)
    await session.commit()


@pytest.mark.usefixtures("_line")
class TestProviderEvents:
    async def test_events_from_before_the_erasure_are_not_stored(
        self, new_uow: NewUow, session: AsyncSession
    ) -> None:
        await record_erasure_of(new_uow, PHONE, secret=APPLY_SETTINGS.secret)
        call = CallFacts(
            provider_call_id="AC77",
            direction="incoming",
            external=(PHONE,),
            phone_number_id=PROVIDER_LINE,
            created_at=BEFORE,
        )

        await receive_events(
            new_uow,
            make_message(PHONE, BEFORE),
            make_message(PHONE, BEFORE, direction="outgoing", from_number=OWN, to_numbers=(PHONE,)),
            make_event("call.completed", BEFORE, call=call),
            make_message(OTHER, BEFORE),
        )

        assert await read_phones(session) == [OTHER]
        assert list(await session.scalars(select(Contact.phone))) == [OTHER]

    async def test_a_later_message_is_stored_and_the_number_is_blocked(
        self, new_uow: NewUow, session: AsyncSession
    ) -> None:
        await record_erasure_of(new_uow, PHONE, secret=APPLY_SETTINGS.secret)

        await receive_events(new_uow, make_message(PHONE, AFTER))

        assert await read_phones(session) == [PHONE]
        assert await read_blocked_numbers(session) == {PHONE: erased_numbers.ERASED_REASON}

    async def test_summary_of_a_call_from_before_the_erasure_is_not_stored(
        self, new_uow: NewUow, session: AsyncSession
    ) -> None:
        """Test a summary, which has no number: the stored call shows that the person was erased."""
        session.add(
            Activity(
                kind="call",
                direction="incoming",
                origin="provider",
                phone="erased:x",
                openphone_id="AC77",
                status="completed",
                occurred_at=BEFORE,
                created_at=BEFORE,
                updated_at=BEFORE,
            )
        )
        await session.commit()
        summary = CallFacts(provider_call_id="AC77", summary=("They want a quote.",))

        await receive_events(new_uow, make_event("call.summary.completed", AFTER, call=summary))

        call = (await session.scalars(select(Activity))).one()
        await session.refresh(call)
        assert call.call == {}

    async def test_a_history_import_leaves_out_erased_numbers(
        self, new_uow: NewUow, session: AsyncSession
    ) -> None:
        await record_erasure_of(new_uow, PHONE, secret=APPLY_SETTINGS.secret)
        long_ago = NOW - timedelta(days=90)
        messages = [make_message(phone, long_ago).message for phone in (PHONE, OTHER)]

        async with new_uow() as uow:
            stored = await apply_plain_messages(
                uow, [one for one in messages if one], now=AFTER, apply_settings=APPLY_SETTINGS
            )

        assert len(stored) == 1
        assert await read_phones(session) == [OTHER]

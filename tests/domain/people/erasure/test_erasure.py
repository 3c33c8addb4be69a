"""No table names an erased person; counts do not change, and the number is blocked."""

from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Text, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.people.erasure.support import (
    KEY,
    OTHER,
    PHONE,
    SHA,
    NewUow,
    PersonIds,
    erase,
    find_traces,
    make_event,
    make_person,
    run_erasure_job,
)
from tests.factories import make_contact

from crm_api.domain.all_tables import metadata
from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.consent import linking
from crm_api.domain.consent.linking import ChainVerification
from crm_api.domain.consent.models import ConsentEntry, ContactFlag, ErasedNumber
from crm_api.domain.imports.contacts.models import ContactImport, ContactImportChunk
from crm_api.domain.inbound.webhook_events.models import WebhookEvent
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.people.erasure import sweep
from crm_api.domain.people.erasure.search_terms import SearchTerms
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.erasure import Erasure
from crm_api.domain.people.models.properties import Property, PropertyContact
from crm_api.platform.ids import new_id
from crm_api.platform.settings import Settings


@pytest.fixture(name="person")
async def _person(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: NewUow, settings: Settings
) -> PersonIds:
    return await make_person(client, session, new_uow, settings)


async def test_nothing_in_the_database_names_an_erased_person(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: PersonIds,
) -> None:
    before = await find_traces(session)

    erasure = await erase(client, person)
    await run_erasure_job(new_uow, settings)

    after = (await client.get(f"/v1/erasures/{erasure['id']}")).json()
    tables = {one.partition(".")[0] for one in before}
    assert tables > {"contact", "activity", "conversation", "send_attempt", "campaign_membership"}
    assert tables > {
        "contact_note",
        "task",
        "appointment",
        "conversation_draft",
        "conversation_note",
        "phone_lookup",
        "consent_wording",
        "contact_flag",
        "webhook_event",
    }
    assert tables > {"contact_import", "contact_import_chunk", "contact_import_error"}
    assert tables > {"number_failure", "provider_stop", "webhook_delivery"}
    assert await find_traces(session) == []
    assert (erasure["status"], after["status"]) == ("sweeping", "completed")
    assert after["finished_at"] is not None


async def test_own_rows_are_erased_at_once(
    client: httpx.AsyncClient, session: AsyncSession, person: PersonIds
) -> None:
    """Test that the request erases the person's own rows.

    Only the copies in events, deliveries, imports and reply examples remain. The job erases them
    later.
    """
    await erase(client, person)

    remaining = {one.partition(".")[0] for one in await find_traces(session)}
    copies = {
        "webhook_event",
        "webhook_delivery",
        "contact_import_error",
        "contact_import_chunk",
        "reply_example",
    }
    assert remaining == copies
    erased = await client.get(f"/v1/contacts/{person.contact_id}")
    assert erased.status_code == 404


async def test_counts_and_rows_are_kept(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: PersonIds,
) -> None:
    path = f"/v1/campaigns/{person.campaign_id}/stats"
    before = (await client.get(path)).json()

    await erase(client, person)
    await run_erasure_job(new_uow, settings)

    members = {
        member.campaign_id: (member.status, member.skip_reason)
        for member in await session.scalars(
            select(CampaignMembership).execution_options(populate_existing=True)
        )
    }
    assert (await client.get(path)).json() == before
    assert members.pop(person.campaign_id) == ("delivered", None)
    assert list(members.values()) == [("skipped", "opted_out")]
    assert len(list(await session.scalars(select(Activity.id)))) == 3
    assert list(await session.scalars(select(SendAttempt.provider_message_id))) == ["AC1"]


async def test_consent_history_keeps_the_decisions_and_still_verifies(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: NewUow, person: PersonIds
) -> None:
    async with new_uow() as uow:
        await linking.link_entries(uow, secret=KEY)

    await erase(client, person)

    found = ChainVerification()
    await linking.verify_links(session, found, secret=KEY)
    proof = (await client.get("/v1/consent-proof", params={"phone": PHONE})).json()
    assert (found.faults, found.erased) == (0, 1)
    assert [(one["action"], one["is_erased"]) for one in proof["entries"]] == [("opt_out", True)]
    assert proof["erased_at"] is not None
    assert len(list(await session.scalars(select(ConsentEntry)))) == 1


async def test_files_of_only_this_person_are_removed_from_the_store(
    client: httpx.AsyncClient, new_uow: NewUow, settings: Settings, person: PersonIds
) -> None:
    store = MediaStore.from_settings(settings)
    before = await store._size_of(SHA)

    await erase(client, person)
    await run_erasure_job(new_uow, settings)

    assert before == 4
    assert await store._size_of(SHA) is None


async def test_a_file_that_another_message_uses_is_kept(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: PersonIds,
) -> None:
    await session.execute(
        text("""
            INSERT INTO media_fetch (id, activity_id, kind, url, status, media_id, next_attempt_at,
                created_at, updated_at)
            SELECT gen_random_uuid(), gen_random_uuid(), kind, url, status, media_id,
                next_attempt_at, created_at, updated_at FROM media_fetch
        """)
    )
    await session.commit()

    await erase(client, person)
    await run_erasure_job(new_uow, settings)

    assert await MediaStore.from_settings(settings)._size_of(SHA) == 4


async def test_other_contacts_keep_their_data(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: PersonIds,
) -> None:
    """Test that other people's data loses only the erased number."""
    neighbour = await make_contact(
        session,
        phone=OTHER,
        first_name="Ada",
        email="ada@example.com",
        attributes={"friend": "call (617) 555-0142 first", "since": 2019, "number": 6175550142},
    )
    session.add(make_event(spelling=OTHER))
    await session.commit()

    await erase(client, person)
    await run_erasure_job(new_uow, settings)

    await session.refresh(neighbour)
    events = await session.scalars(select(WebhookEvent).order_by(WebhookEvent.id))
    chunk = (await session.scalars(select(ContactImportChunk))).one()
    await session.refresh(chunk)
    sample = await session.scalar(select(ContactImport.sample))
    assert (neighbour.phone, neighbour.email) == (OTHER, "ada@example.com")
    assert neighbour.attributes == {"friend": "call 0 first", "since": 2019, "number": 0}
    payloads = [(one.payload, one.type) for one in events]
    assert payloads.count(({"erased": True}, "erased")) == 3
    assert [one["data"]["object"]["from"] for one, _ in payloads if "data" in one] == [OTHER]
    assert chunk.changes == [{"old": {"company": "Ada's"}}, {}]
    assert [one["phone"] for one in sample or []] == [OTHER]


async def test_an_erasure_waits_for_an_event_that_is_not_applied_yet(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: PersonIds,
) -> None:
    waiting = make_event(status="pending")
    session.add(waiting)
    await session.commit()
    erasure = await erase(client, person)

    await run_erasure_job(new_uow, settings)
    row = await session.get_one(Erasure, erasure["id"])
    await session.refresh(row)
    between = (row.status, row.next_at - row.created_at > timedelta(minutes=9))
    waiting.status = "processed"
    row.next_at = row.created_at
    await session.commit()
    await run_erasure_job(new_uow, settings)

    await session.refresh(row)
    assert between == ("sweeping", True)
    assert row.status == "completed"
    assert await find_traces(session) == []


async def test_a_later_message_of_the_person_is_not_erased(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: PersonIds,
) -> None:
    erasure = await erase(client, person)
    row = await session.get_one(Erasure, erasure["id"])
    later = make_event(received_at=row.created_at + timedelta(seconds=1))
    session.add(later)
    await make_contact(session, phone=PHONE, now=row.created_at + timedelta(seconds=1))
    await session.commit()

    await run_erasure_job(new_uow, settings)

    await session.refresh(later)
    await session.refresh(row)
    phones = set(await session.scalars(select(Contact.phone)))
    assert later.payload["data"]["object"]["from"] == PHONE
    assert PHONE in phones
    assert row.status == "completed"


@pytest.mark.parametrize("status", ["calling", "unknown", "parked"])
async def test_an_unsettled_attempt_blocks_the_erasure_and_nothing_is_changed(
    client: httpx.AsyncClient, session: AsyncSession, person: PersonIds, status: str
) -> None:
    session.add(
        SendAttempt(
            line_id=person.line_id,
            activity_id=new_id(),
            phone=PHONE,
            body="Hi",
            status=status,
            called_at=NOW,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    await session.commit()

    response = await client.post(
        f"/v1/contacts/{person.contact_id}/erase", json={"reason": "asked by letter"}
    )

    assert (response.status_code, response.json()["code"]) == (409, "text_under_way")
    assert response.json()["texts"] == 1
    assert (await client.get(f"/v1/contacts/{person.contact_id}")).status_code == 200
    assert not list(await session.scalars(select(ErasedNumber)))


async def test_a_claimed_message_is_withdrawn(
    client: httpx.AsyncClient, session: AsyncSession, person: PersonIds
) -> None:
    await session.execute(text("DELETE FROM contact_flag"))
    claimed = SendAttempt(
        line_id=person.line_id,
        activity_id=new_id(),
        phone=PHONE,
        body="Hi",
        status="claimed",
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(claimed)
    await session.commit()

    await erase(client, person)

    await session.refresh(claimed)
    assert (claimed.status, claimed.body) == ("released", "")


async def test_a_deleted_contact_can_be_erased_and_an_erased_one_is_not_found(
    client: httpx.AsyncClient, session: AsyncSession, person: PersonIds
) -> None:
    await client.delete(f"/v1/contacts/{person.contact_id}")

    await erase(client, person)
    again = await client.post(f"/v1/contacts/{person.contact_id}/erase", json={"reason": "again"})

    assert (again.status_code, again.json()["code"]) == (404, "contact_not_found")
    assert [one for one in await find_traces(session) if one.startswith("contact.")] == []


async def test_earlier_numbers_are_erased_too(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: PersonIds,
) -> None:
    moved = await client.patch(f"/v1/contacts/{person.contact_id}", json={"phone": "6175550177"})

    await erase(client, person)
    await run_erasure_job(new_uow, settings)

    assert moved.status_code == 200
    assert await find_traces(session) == []
    assert len(list(await session.scalars(select(ErasedNumber)))) == 2


async def test_messages_without_a_contact_are_erased_and_those_of_a_former_owner_are_kept(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: PersonIds,
) -> None:
    former = await make_contact(session, phone=OTHER)
    conversation_id = await session.scalar(select(Conversation.id))
    for contact_id, body in ((None, "basement floods"), (former.id, "Is this still my number?")):
        session.add(
            Activity(
                kind="message",
                direction="incoming",
                origin="provider",
                conversation_id=conversation_id,
                contact_id=contact_id,
                phone=PHONE,
                body=body,
                status="received",
                occurred_at=NOW,
                created_at=NOW,
                updated_at=NOW,
            )
        )
    await session.commit()

    await erase(client, person)
    await run_erasure_job(new_uow, settings)

    bodies = await session.scalars(select(Activity.body).where(Activity.contact_id == former.id))
    assert bodies.all() == ["Is this still my number?"]
    assert await find_traces(session) == []


@pytest.mark.parametrize("is_by_alias", [False, True])
async def test_merged_duplicates_are_erased_too(
    *,
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: PersonIds,
    is_by_alias: bool,
) -> None:
    other = await client.post(
        "/v1/contacts", json={"phone": OTHER, "first_name": "Ada", "email": "ada@example.com"}
    )
    other_id = UUID(other.json()["id"])
    merged = await client.post(
        "/v1/contacts/merge",
        json={"primary_id": str(other_id), "duplicate_ids": [str(person.contact_id)]},
    )
    head = PersonIds(
        contact_id=person.contact_id if is_by_alias else other_id,
        campaign_id=person.campaign_id,
        line_id=person.line_id,
    )

    erasure = await erase(client, head)
    await run_erasure_job(new_uow, settings)

    assert merged.status_code == 200, merged.text
    assert erasure["contact_id"] == str(other_id)
    assert await find_traces(session) == []
    phones = await session.scalars(select(Contact.phone))
    assert set(phones) == {f"erased:{other_id}", f"erased:{person.contact_id}"}


async def test_reason_is_stored_without_the_name(
    client: httpx.AsyncClient, person: PersonIds
) -> None:
    response = await client.post(
        f"/v1/contacts/{person.contact_id}/erase",
        json={"reason": "Quillon Ferncliff asked from 617-555-0142"},
    )

    assert response.json()["reason"] == "erased asked from 0"


async def test_only_admins_can_erase(client: httpx.AsyncClient, key_with: object) -> None:
    from crm_api.domain.identity.api_keys.models import Scope  # noqa: PLC0415

    header = await key_with(Scope.CONTACTS_WRITE)  # type: ignore[operator]

    for method, path in (
        ("POST", f"/v1/contacts/{new_id()}/erase"),
        ("GET", "/v1/erasures"),
        ("GET", f"/v1/erasures/{new_id()}"),
    ):
        refused = await client.request(method, path, json={"reason": "x"}, headers=header)
        assert refused.status_code == 403


async def test_erasures_are_listed_and_unknown_ones_are_404(
    client: httpx.AsyncClient, person: PersonIds
) -> None:
    made = await erase(client, person)

    listed = (await client.get("/v1/erasures")).json()
    unknown = await client.get(f"/v1/erasures/{new_id()}")

    assert listed == {"data": [made], "next_cursor": None}
    assert (unknown.status_code, unknown.json()["code"]) == (404, "erasure_not_found")


HOLDS_A_NUMBER = {
    "activity",
    "campaign_membership",
    "consent_wording",
    "contact",
    "contact_flag",
    "conversation",
    "number_failure",
    "outcome_subject",
    "provider_stop",
    "send_attempt",
}
"""Tables with a column for one number; the request for the erasure clears these columns."""


def test_every_table_with_a_number_is_erased() -> None:
    """Test that no table with a column for a number is missing from the list.

    The job does not search these columns, so a new column needs its own statement in the erasure.
    """
    found = {
        table.name
        for table in metadata.tables.values()
        for column in table.columns
        if column.name in sweep.IDENTITY
        and isinstance(column.type, Text)
        and not column.primary_key
    }

    assert found == HOLDS_A_NUMBER


async def test_a_property_with_other_contacts_is_kept(
    client: httpx.AsyncClient, session: AsyncSession, person: PersonIds
) -> None:
    spouse = await make_contact(session, phone=OTHER)
    property_id = await session.scalar(select(Property.id))
    session.add(
        PropertyContact(
            property_id=property_id, contact_id=spouse.id, role="secondary", added_at=NOW
        )
    )
    await session.commit()

    await erase(client, person)

    remaining = list(await session.scalars(select(PropertyContact.contact_id)))
    assert remaining == [spouse.id]
    assert await session.scalar(select(Property.street)) == "7 Larkspur Lane"


class TestSearchTerms:
    @pytest.mark.parametrize(
        ("given", "redacted"),
        [
            ("call +16175550142", "call 0"),
            ("call (617) 555-0142.", "call 0."),
            ("617.555.0142/1-617-555-0142", "0/0"),
            ("16175550142", "0"),
            ("6175550142 x7", "0 x7"),
            ("QUILLON  Ferncliff", "QUILLON  Ferncliff"),
            ("quillon ferncliff!", "erased!"),
            ("96175550142", "96175550142"),
            ("61755501429", "61755501429"),
            ("617555014", "617555014"),
        ],
    )
    def test_numbers_and_search_words_are_redacted(self, given: str, redacted: str) -> None:
        terms = SearchTerms.of([PHONE], ["Quillon Ferncliff", "Al", None])

        assert terms.redact(given) == redacted

    def test_search_words_are_matched_literally(self) -> None:
        terms = SearchTerms.of([PHONE], ["a.b+c@x.example", "(c) [d] *"])

        assert terms.redact("A.B+C@X.EXAMPLE (C) [D] *") == "erased erased"
        assert terms.redact("aXb+c@x.example") == "aXb+c@x.example"

    def test_text_is_not_changed_without_search_words(self) -> None:
        assert SearchTerms.of([PHONE], []).redact("anything at all") == "anything at all"

    def test_terms_are_equal_after_dump_and_load(self) -> None:
        terms = SearchTerms.of([PHONE], ["Quillon Ferncliff"])

        assert SearchTerms.load(terms.dump()) == terms


async def test_flags_are_deleted(
    client: httpx.AsyncClient, session: AsyncSession, person: PersonIds
) -> None:
    await erase(client, person)

    assert not list(await session.scalars(select(ContactFlag)))

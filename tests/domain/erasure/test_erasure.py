"""An erased person is named nowhere, what was counted stays, and the number is barred."""

from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Text, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.erasure.support import (
    KEY,
    OTHER,
    PHONE,
    SHA,
    NewUow,
    Traced,
    erase,
    event,
    make_person,
    run,
    traces,
)
from tests.factories import make_contact

from crm_api.domain.activity.models import Activity, Conversation
from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.consent import linking
from crm_api.domain.consent.linking import Verification
from crm_api.domain.consent.models import ConsentEntry, ContactFlag, ErasedNumber
from crm_api.domain.contacts.models import Contact
from crm_api.domain.erasure import sweep_statements
from crm_api.domain.erasure.models import Erasure
from crm_api.domain.erasure.needles import Needles
from crm_api.domain.media.store import MediaStore
from crm_api.domain.properties.models import Property, PropertyContact
from crm_api.domain.sends.models import SendAttempt
from crm_api.domain.tables import metadata
from crm_api.domain.transfer.models import ContactImport, ContactImportChunk
from crm_api.domain.webhooks.models import WebhookEvent
from crm_api.ids import new_id
from crm_api.settings import Settings


@pytest.fixture(name="person")
async def _person(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: NewUow, settings: Settings
) -> Traced:
    return await make_person(client, session, new_uow, settings)


async def test_nothing_in_the_database_names_an_erased_person(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: Traced,
) -> None:
    before = await traces(session)

    erasure = await erase(client, person)
    await run(new_uow, settings)

    after = (await client.get(f"/v1/erasures/{erasure['id']}")).json()
    tables = {one.partition(".")[0] for one in before}
    assert tables > {"contact", "activity", "conversation", "send_attempt", "campaign_membership"}
    assert tables > {
        "contact_note",
        "phone_lookup",
        "consent_wording",
        "contact_flag",
        "webhook_event",
    }
    assert tables > {"contact_import", "contact_import_chunk", "contact_import_error"}
    assert await traces(session) == []
    assert (erasure["status"], after["status"]) == ("sweeping", "completed")
    assert after["finished_at"] is not None


async def test_what_is_theirs_is_gone_at_once(
    client: httpx.AsyncClient, session: AsyncSession, person: Traced
) -> None:
    """Only copies in ledgers wait for the job."""
    await erase(client, person)

    left = {one.partition(".")[0] for one in await traces(session)}
    copies = {"webhook_event", "contact_import_error", "contact_import_chunk"}
    assert left == copies
    gone = await client.get(f"/v1/contacts/{person.contact_id}")
    assert gone.status_code == 404


async def test_counts_and_rows_stay(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: Traced,
) -> None:
    path = f"/v1/campaigns/{person.campaign_id}/stats"
    before = (await client.get(path)).json()

    await erase(client, person)
    await run(new_uow, settings)

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


async def test_history_keeps_what_was_decided_and_still_verifies(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: NewUow, person: Traced
) -> None:
    async with new_uow() as uow:
        await linking.link_batch(uow, secret=KEY)

    await erase(client, person)

    found = Verification()
    await linking.verify_batch(session, found, secret=KEY)
    proof = (await client.get("/v1/consent-proof", params={"phone": PHONE})).json()
    assert (found.faults, found.erased) == (0, 1)
    assert [(one["action"], one["is_erased"]) for one in proof["entries"]] == [("opt_out", True)]
    assert proof["erased_at"] is not None
    assert len(list(await session.scalars(select(ConsentEntry)))) == 1


async def test_files_that_only_they_had_go_from_the_store(
    client: httpx.AsyncClient, new_uow: NewUow, settings: Settings, person: Traced
) -> None:
    store = MediaStore.from_settings(settings)
    had = await store._size_of(SHA)

    await erase(client, person)
    await run(new_uow, settings)

    assert had == 4
    assert await store._size_of(SHA) is None


async def test_a_file_that_somebody_else_has_stays(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: Traced,
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
    await run(new_uow, settings)

    assert await MediaStore.from_settings(settings)._size_of(SHA) == 4


async def test_others_keep_what_is_theirs(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: Traced,
) -> None:
    """Of a neighbour's data only the mention of the number goes."""
    neighbour = await make_contact(
        session,
        phone=OTHER,
        first_name="Ada",
        email="ada@example.com",
        attributes={"friend": "call (617) 555-0142 first", "since": 2019, "number": 6175550142},
    )
    session.add(event(writing=OTHER))
    await session.commit()

    await erase(client, person)
    await run(new_uow, settings)

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


async def test_an_event_that_is_not_applied_yet_is_waited_for(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: Traced,
) -> None:
    waiting = event(status="pending")
    session.add(waiting)
    await session.commit()
    erasure = await erase(client, person)

    await run(new_uow, settings)
    row = await session.get_one(Erasure, erasure["id"])
    await session.refresh(row)
    between = (row.status, row.next_at - row.created_at > timedelta(minutes=9))
    waiting.status = "processed"
    row.next_at = row.created_at
    await session.commit()
    await run(new_uow, settings)

    await session.refresh(row)
    assert between == ("sweeping", True)
    assert row.status == "completed"
    assert await traces(session) == []


async def test_what_they_say_later_is_not_swept_away(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: Traced,
) -> None:
    erasure = await erase(client, person)
    row = await session.get_one(Erasure, erasure["id"])
    later = event(received_at=row.created_at + timedelta(seconds=1))
    session.add(later)
    await make_contact(session, phone=PHONE, now=row.created_at + timedelta(seconds=1))
    await session.commit()

    await run(new_uow, settings)

    await session.refresh(later)
    await session.refresh(row)
    phones = set(await session.scalars(select(Contact.phone)))
    assert later.payload["data"]["object"]["from"] == PHONE
    assert PHONE in phones
    assert row.status == "completed"


@pytest.mark.parametrize("status", ["calling", "unknown", "parked"])
async def test_a_text_under_way_blocks_and_nothing_is_changed(
    client: httpx.AsyncClient, session: AsyncSession, person: Traced, status: str
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

    answer = await client.post(
        f"/v1/contacts/{person.contact_id}/erase", json={"reason": "asked by letter"}
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "text_under_way")
    assert answer.json()["texts"] == 1
    assert (await client.get(f"/v1/contacts/{person.contact_id}")).status_code == 200
    assert not list(await session.scalars(select(ErasedNumber)))


async def test_a_claimed_text_is_taken_back(
    client: httpx.AsyncClient, session: AsyncSession, person: Traced
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


async def test_a_deleted_person_can_be_erased_and_an_erased_one_is_nobody(
    client: httpx.AsyncClient, session: AsyncSession, person: Traced
) -> None:
    await client.delete(f"/v1/contacts/{person.contact_id}")

    await erase(client, person)
    again = await client.post(f"/v1/contacts/{person.contact_id}/erase", json={"reason": "again"})

    assert (again.status_code, again.json()["code"]) == (404, "contact_not_found")
    assert [one for one in await traces(session) if one.startswith("contact.")] == []


async def test_numbers_that_they_had_before_go_too(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: Traced,
) -> None:
    moved = await client.patch(f"/v1/contacts/{person.contact_id}", json={"phone": "6175550177"})

    await erase(client, person)
    await run(new_uow, settings)

    assert moved.status_code == 200
    assert await traces(session) == []
    assert len(list(await session.scalars(select(ErasedNumber)))) == 2


async def test_texts_of_nobody_s_with_the_number_go_and_a_former_owner_s_stay(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: Traced,
) -> None:
    former = await make_contact(session, phone=OTHER)
    talk_id = await session.scalar(select(Conversation.id))
    for contact_id, body in ((None, "basement floods"), (former.id, "Is this still my number?")):
        session.add(
            Activity(
                kind="message",
                direction="incoming",
                origin="provider",
                conversation_id=talk_id,
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
    await run(new_uow, settings)

    bodies = await session.scalars(select(Activity.body).where(Activity.contact_id == former.id))
    assert bodies.all() == ["Is this still my number?"]
    assert await traces(session) == []


@pytest.mark.parametrize("is_by_alias", [False, True])
async def test_whoever_was_merged_into_them_goes_too(
    *,
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: NewUow,
    settings: Settings,
    person: Traced,
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
    head = Traced(
        contact_id=person.contact_id if is_by_alias else other_id,
        campaign_id=person.campaign_id,
        line_id=person.line_id,
    )

    erasure = await erase(client, head)
    await run(new_uow, settings)

    assert merged.status_code == 200, merged.text
    assert erasure["contact_id"] == str(other_id)
    assert await traces(session) == []
    phones = await session.scalars(select(Contact.phone))
    assert set(phones) == {f"erased:{other_id}", f"erased:{person.contact_id}"}


async def test_reason_is_kept_without_their_name(client: httpx.AsyncClient, person: Traced) -> None:
    answer = await client.post(
        f"/v1/contacts/{person.contact_id}/erase",
        json={"reason": "Quillon Ferncliff asked from 617-555-0142"},
    )

    assert answer.json()["reason"] == "erased asked from 0"


async def test_erasing_is_for_admins(client: httpx.AsyncClient, key_with: object) -> None:
    from crm_api.domain.access.models import Scope  # noqa: PLC0415

    header = await key_with(Scope.CONTACTS_WRITE)  # type: ignore[operator]

    for method, path in (
        ("POST", f"/v1/contacts/{new_id()}/erase"),
        ("GET", "/v1/erasures"),
        ("GET", f"/v1/erasures/{new_id()}"),
    ):
        refused = await client.request(method, path, json={"reason": "x"}, headers=header)
        assert refused.status_code == 403


async def test_erasures_are_listed_and_unknown_ones_are_404(
    client: httpx.AsyncClient, person: Traced
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
    "send_attempt",
}
"""Tables with a column for one number, all of them emptied of it at once."""


def test_a_new_table_with_a_number_is_not_forgotten() -> None:
    """The search leaves these columns alone: whoever adds one adds its erasure."""
    found = {
        table.name
        for table in metadata.tables.values()
        for column in table.columns
        if column.name in sweep_statements.IDENTITY
        and isinstance(column.type, Text)
        and not column.primary_key
    }

    assert found == HOLDS_A_NUMBER


async def test_a_house_with_others_in_it_stays(
    client: httpx.AsyncClient, session: AsyncSession, person: Traced
) -> None:
    spouse = await make_contact(session, phone=OTHER)
    house_id = await session.scalar(select(Property.id))
    session.add(
        PropertyContact(property_id=house_id, contact_id=spouse.id, role="secondary", added_at=NOW)
    )
    await session.commit()

    await erase(client, person)

    left = list(await session.scalars(select(PropertyContact.contact_id)))
    assert left == [spouse.id]
    assert await session.scalar(select(Property.street)) == "7 Larkspur Lane"


class TestNeedles:
    @pytest.mark.parametrize(
        ("written", "left"),
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
    def test_redact(self, written: str, left: str) -> None:
        needles = Needles.of([PHONE], ["Quillon Ferncliff", "Al", None])

        assert needles.redact(written) == left

    def test_words_are_taken_literally(self) -> None:
        needles = Needles.of([PHONE], ["a.b+c@x.example", "(c) [d] *"])

        assert needles.redact("A.B+C@X.EXAMPLE (C) [D] *") == "erased erased"
        assert needles.redact("aXb+c@x.example") == "aXb+c@x.example"

    def test_nothing_is_a_word_when_none_is_known(self) -> None:
        assert Needles.of([PHONE], []).redact("anything at all") == "anything at all"

    def test_they_survive_being_written_down(self) -> None:
        needles = Needles.of([PHONE], ["Quillon Ferncliff"])

        assert Needles.load(needles.dump()) == needles


async def test_flags_are_gone(
    client: httpx.AsyncClient, session: AsyncSession, person: Traced
) -> None:
    await erase(client, person)

    assert not list(await session.scalars(select(ContactFlag)))

"""Contacts: created, searched, changed, flagged and deleted in a real database."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_line, make_list, make_member

from crm_api.domain.campaigns.models import Campaign, CampaignMembership
from crm_api.domain.consent.schemas import ConsentDecision
from crm_api.domain.kit.paging import InvalidCursorError
from crm_api.domain.kit.phone import InvalidPhoneError
from crm_api.domain.messaging.conversations.participants import find_or_add_contact
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts import decisions
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.errors import (
    ContactExistsError,
    ContactNotFoundError,
    FlagNotFoundError,
    InvalidAttributesError,
)
from crm_api.domain.people.contacts.schemas import (
    ContactCreate,
    ContactFilter,
    ContactUpdate,
    FlagCreate,
    FlaggedContact,
)
from crm_api.domain.people.contacts.timeline import list_timeline
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.lists import ContactListMember
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

PHONE = "+16175550123"
OTHER = "+13055550124"
SECRET = b"the key of these tests"
LATER = NOW + timedelta(hours=1)
BY_KEY: dict[str, Any] = {"actor": "a key", "now": NOW, "secret": SECRET}


async def add_contact(new_uow: UnitOfWorkFactory, **values: Any) -> FlaggedContact:
    now = values.pop("now", NOW)
    async with new_uow() as uow:
        return await contact_changes.create_contact(
            uow, ContactCreate(**{"phone": PHONE, **values}), now=now, secret=SECRET
        )


async def change_contact(
    new_uow: UnitOfWorkFactory, contact_id: UUID, **values: Any
) -> FlaggedContact:
    async with new_uow() as uow:
        return await contact_changes.update_contact(
            uow, ContactUpdate(**values), contact_id=contact_id, now=LATER
        )


async def delete_contact(new_uow: UnitOfWorkFactory, contact_id: UUID) -> None:
    async with new_uow() as uow:
        await contact_changes.delete_contact(uow, contact_id=contact_id, now=LATER)


async def opt_out_contact(new_uow: UnitOfWorkFactory, contact_id: UUID) -> FlaggedContact:
    async with new_uow() as uow:
        return await decisions.opt_out(
            uow, contact_id=contact_id, decision=ConsentDecision(reason="asked by phone"), **BY_KEY
        )


async def list_phones(
    new_uow: UnitOfWorkFactory, *, limit: int = 50, cursor: str | None = None, **wanted: Any
) -> list[str]:
    async with new_uow() as uow:
        page = await contacts.list_contacts(
            uow, ContactFilter(**wanted), cursor=cursor, limit=limit, now=NOW
        )
    return [found.contact.phone for found in page.data]


async def make_recipient(
    session: AsyncSession, contact: Contact, *, status: str = "pending", step: int = 0
) -> CampaignMembership:
    """Make a recipient of this contact, in a new campaign on a new line."""
    line = await make_line(session, phone_number_id=f"PN{new_id()}")
    campaign = await make_campaign(session, line=line)
    member = await make_member(
        session, campaign=campaign, contact=contact, status=status, step=step
    )
    await session.commit()
    return member


class TestCreate:
    async def test_new_contact_has_the_given_fields(self, new_uow: UnitOfWorkFactory) -> None:
        found = await add_contact(
            new_uow,
            first_name=" Ada\n",
            last_name="",
            tags=["spring", "spring ", "vip"],
            address={"state": "MA", "postal_code": "02169"},
            attributes={"roof": {"kind": "slate"}},
        )

        contact = found.contact
        assert (contact.phone, contact.first_name, contact.last_name) == (PHONE, "Ada", None)
        assert contact.tags == ["spring", "vip"]
        assert contact.state == "MA"
        assert contact.attributes == {"roof": {"kind": "slate"}}
        assert contact.zone_key == "MA/America/New_York"
        assert found.flags == []

    async def test_known_number_is_refused_with_the_id_of_its_contact(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        first = await add_contact(new_uow)

        with pytest.raises(ContactExistsError) as refusal:
            await add_contact(new_uow, first_name="Eve")

        assert refusal.value.extras == {"contact_id": str(first.contact.id)}

    async def test_deleted_contact_that_is_added_again_keeps_its_id(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        first = await add_contact(
            new_uow, first_name="Ada", tags=["vip"], attributes={"roof": "slate"}
        )
        await delete_contact(new_uow, first.contact.id)

        again = await add_contact(new_uow, last_name="Rossi", now=LATER)

        contact = again.contact
        assert contact.id == first.contact.id
        assert (contact.first_name, contact.last_name) == (None, "Rossi")
        assert (contact.tags, contact.attributes) == ([], {})
        assert (contact.created_at, contact.deleted_at) == (LATER, None)

    async def test_opt_out_is_kept_when_a_deleted_contact_is_added_again(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        first = await add_contact(new_uow)
        await opt_out_contact(new_uow, first.contact.id)
        await delete_contact(new_uow, first.contact.id)

        again = await add_contact(new_uow)

        assert again.flags == ["opted_out"]
        async with new_uow() as uow:
            history = await decisions.consent_history(
                uow,
                contact_id=again.contact.id,
                secret=SECRET,
                cursor=None,
                limit=50,
                now=NOW,
            )
        assert [entry.action for entry, _ in history.data] == ["opt_out"]

    async def test_unknown_sender_is_added_as_a_contact_once(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        async with new_uow() as uow:
            first = await find_or_add_contact(uow, PHONE, now=NOW)
            again = await find_or_add_contact(uow, PHONE, now=LATER)
            assert first is not None
            found = (await contacts.get_contact(uow, contact_id=first, now=NOW)).contact

        assert again == first
        assert (found.source, found.created_at) == ("message", NOW)

    async def test_deleted_sender_is_added_again_without_old_fields(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        first = await add_contact(new_uow, first_name="Ada")
        await delete_contact(new_uow, first.contact.id)

        async with new_uow() as uow:
            assert await find_or_add_contact(uow, PHONE, now=LATER) == first.contact.id
            again = (
                await contacts.get_contact(uow, contact_id=first.contact.id, now=LATER)
            ).contact

        assert (again.first_name, again.deleted_at, again.source) == (None, None, "message")


class TestFind:
    async def test_contact_is_found_by_any_format_of_its_number(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        made = await add_contact(new_uow)

        async with new_uow() as uow:
            found = await contacts.get_contact_by_phone(uow, phone="1 (617) 555.0123", now=NOW)

        assert found.contact.id == made.contact.id

    async def test_invalid_number_is_refused(self, new_uow: UnitOfWorkFactory) -> None:
        async with new_uow() as uow:
            with pytest.raises(InvalidPhoneError):
                await contacts.get_contact_by_phone(uow, phone="617", now=NOW)

    async def test_deleted_contact_is_not_found(self, new_uow: UnitOfWorkFactory) -> None:
        made = await add_contact(new_uow)
        await delete_contact(new_uow, made.contact.id)

        async with new_uow() as uow:
            with pytest.raises(ContactNotFoundError):
                await contacts.get_contact(uow, contact_id=made.contact.id, now=NOW)
            with pytest.raises(ContactNotFoundError):
                await contacts.get_contact_by_phone(uow, phone=PHONE, now=NOW)
            with pytest.raises(ContactNotFoundError):
                await contact_changes.delete_contact(uow, contact_id=made.contact.id, now=NOW)
            with pytest.raises(ContactNotFoundError):
                await contact_changes.update_contact(
                    uow, ContactUpdate(first_name="x"), contact_id=made.contact.id, now=NOW
                )
        assert await list_phones(new_uow) == []

    @pytest.mark.parametrize(
        ("q", "is_found"),
        [
            ("ross", True),
            ("ADA ROSSI", True),
            ("rossi ada", True),
            ("ada smith", False),
            ("granite", True),
            ("@example", True),
            ("(617) 555-0123", True),
            ("555-01", True),
            ("rossi 617-555", True),
            ("rossi 305-555", False),
            ("100%", False),
            ("a_a", False),
            ("ada\\", False),
            ("ada ' rossi", True),
        ],
    )
    async def test_search_finds_any_part_of_the_fields(
        self,
        new_uow: UnitOfWorkFactory,
        q: str,
        is_found: bool,  # noqa: FBT001 - a parameter of the case
    ) -> None:
        await add_contact(
            new_uow,
            first_name="Ada",
            last_name="Rossi",
            company="Granite",
            email="ada@example.com",
        )

        assert await list_phones(new_uow, q=q) == ([PHONE] if is_found else [])

    async def test_wildcards_are_searched_literally(self, new_uow: UnitOfWorkFactory) -> None:
        await add_contact(new_uow, company="50% off_shore")

        assert await list_phones(new_uow, q="50%") == [PHONE]
        assert await list_phones(new_uow, q="off_shore") == [PHONE]
        assert await list_phones(new_uow, q="off-shore") == []

    async def test_filters_select_contacts(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession
    ) -> None:
        ada = await add_contact(new_uow, tags=["vip"])
        await add_contact(new_uow, phone=OTHER, now=LATER)
        await opt_out_contact(new_uow, ada.contact.id)
        homeowners = await make_list(session, contacts=[ada.contact])
        await session.commit()

        assert await list_phones(new_uow) == [OTHER, PHONE]
        assert await list_phones(new_uow, tag="vip") == [PHONE]
        assert await list_phones(new_uow, phone=OTHER) == [OTHER]
        assert await list_phones(new_uow, list_id=homeowners.id) == [PHONE]
        assert await list_phones(new_uow, opted_out=True) == [PHONE]
        assert await list_phones(new_uow, opted_out=False) == [OTHER]
        assert await list_phones(new_uow, created_after=NOW) == [OTHER]
        assert await list_phones(new_uow, created_before=LATER) == [PHONE]

    async def test_pages_are_stable_while_contacts_are_added(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        for position in range(5):
            # Two contacts have the same creation time, so their ids decide the order.
            await add_contact(
                new_uow,
                phone=f"+1617555010{position}",
                now=NOW + timedelta(minutes=position // 2),
            )

        seen: list[str] = []
        cursor: str | None = None
        for turn in range(3):
            async with new_uow() as uow:
                page = await contacts.list_contacts(
                    uow, ContactFilter(), cursor=cursor, limit=2, now=NOW
                )
            seen += [found.contact.phone[-1] for found in page.data]
            cursor = page.next_cursor
            await add_contact(new_uow, phone=f"+1617555020{turn}", now=LATER)

        assert seen == ["4", "3", "2", "1", "0"]
        assert cursor is None

    async def test_invalid_cursor_is_refused(self, new_uow: UnitOfWorkFactory) -> None:
        with pytest.raises(InvalidCursorError):
            await list_phones(new_uow, cursor="no cursor")

    async def test_expired_flag_is_not_shown(self, new_uow: UnitOfWorkFactory) -> None:
        made = await add_contact(new_uow)
        body = FlagCreate(flag="recently_texted", expires_at=LATER)
        async with new_uow() as uow:
            await decisions.add_flag(uow, body, contact_id=made.contact.id, **BY_KEY)

        async with new_uow() as uow:
            before = await contacts.get_contact(uow, contact_id=made.contact.id, now=NOW)
            after = await contacts.get_contact(uow, contact_id=made.contact.id, now=LATER)

        assert before.flags == ["recently_texted"]
        assert after.flags == []


class TestUpdate:
    async def test_omitted_field_is_kept_and_null_clears_a_field(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        made = await add_contact(
            new_uow, first_name="Ada", last_name="Rossi", tags=["vip"], timezone="America/Chicago"
        )

        found = await change_contact(
            new_uow, made.contact.id, first_name=None, tags=None, timezone=None
        )

        contact = found.contact
        assert (contact.first_name, contact.last_name) == (None, "Rossi")
        assert (contact.tags, contact.timezone) == ([], None)
        assert contact.updated_at == LATER

    async def test_address_and_attributes_are_merged(self, new_uow: UnitOfWorkFactory) -> None:
        made = await add_contact(
            new_uow,
            address={"city": "Quincy", "state": "MA"},
            attributes={"roof": "slate", "beds": 3},
        )

        found = await change_contact(
            new_uow,
            made.contact.id,
            address={"city": None, "postal_code": "02169"},
            attributes={"beds": None, "baths": 2},
        )

        contact = found.contact
        assert (contact.city, contact.state, contact.postal_code) == (None, "MA", "02169")
        assert contact.attributes == {"roof": "slate", "baths": 2}

    async def test_null_address_and_attributes_clear_all(self, new_uow: UnitOfWorkFactory) -> None:
        made = await add_contact(new_uow, address={"city": "Quincy"}, attributes={"roof": "slate"})

        found = await change_contact(new_uow, made.contact.id, address=None, attributes=None)

        assert (found.contact.city, found.contact.attributes) == (None, {})

    async def test_update_without_changes_keeps_the_update_time(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        made = await add_contact(new_uow, first_name="Ada")

        found = await change_contact(new_uow, made.contact.id, first_name="Ada")

        assert found.contact.updated_at == NOW

    async def test_merged_attributes_must_keep_the_limits(self, new_uow: UnitOfWorkFactory) -> None:
        made = await add_contact(new_uow, attributes={f"a{position}": 1 for position in range(60)})

        with pytest.raises(InvalidAttributesError):
            await change_contact(
                new_uow,
                made.contact.id,
                attributes={f"b{position}": 1 for position in range(60)},
            )

    async def test_used_number_is_refused_with_the_id_of_its_contact(
        self, new_uow: UnitOfWorkFactory
    ) -> None:
        ada = await add_contact(new_uow)
        eve = await add_contact(new_uow, phone=OTHER)

        with pytest.raises(ContactExistsError) as refusal:
            await change_contact(new_uow, eve.contact.id, phone=PHONE)

        assert refusal.value.extras == {"contact_id": str(ada.contact.id)}

    async def test_number_of_a_deleted_contact_can_be_reused(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession
    ) -> None:
        deleted = await add_contact(new_uow)
        await delete_contact(new_uow, deleted.contact.id)
        new_owner = await add_contact(new_uow, phone=OTHER)
        line = await make_line(session)
        conversation = Conversation(
            line_id=line.id,
            phone=PHONE,
            contact_id=deleted.contact.id,
            last_activity_at=NOW,
            created_at=NOW,
        )
        session.add(conversation)
        await session.commit()

        found = await change_contact(new_uow, new_owner.contact.id, phone=PHONE)

        await session.refresh(conversation)
        assert found.contact.phone == PHONE
        assert conversation.contact_id == new_owner.contact.id
        assert await list_phones(new_uow) == [PHONE]

    async def test_waiting_recipients_get_the_new_number_and_zone_key(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession
    ) -> None:
        made = await add_contact(new_uow)
        member = await make_recipient(session, made.contact)

        await change_contact(new_uow, made.contact.id, phone=OTHER)

        await session.refresh(member)
        campaign = await session.get_one(Campaign, member.campaign_id, populate_existing=True)
        assert (member.phone, member.status) == (OTHER, "pending")
        assert member.zone_key == "FL/America/New_York"
        assert set(campaign.zone_keys) == {"MA/America/New_York", "FL/America/New_York"}

    async def test_waiting_recipients_get_the_new_time_zone(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession
    ) -> None:
        made = await add_contact(new_uow)
        member = await make_recipient(session, made.contact)

        await change_contact(new_uow, made.contact.id, timezone="America/Los_Angeles")

        await session.refresh(member)
        assert (member.phone, member.zone_key) == (PHONE, "MA/America/Los_Angeles")

    @pytest.mark.parametrize("status", ["sending", "unknown"])
    async def test_recipients_being_sent_to_get_the_new_number_and_zone_key(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession, status: str
    ) -> None:
        made = await add_contact(new_uow)
        member = await make_recipient(session, made.contact, status=status)

        await change_contact(new_uow, made.contact.id, phone=OTHER)

        await session.refresh(member)
        campaign = await session.get_one(Campaign, member.campaign_id, populate_existing=True)
        assert (member.phone, member.status) == (OTHER, status)
        assert member.zone_key == "FL/America/New_York"
        assert set(campaign.zone_keys) == {"MA/America/New_York", "FL/America/New_York"}

    async def test_sent_recipients_keep_their_number(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession
    ) -> None:
        made = await add_contact(new_uow)
        member = await make_recipient(session, made.contact, status="sent")

        await change_contact(new_uow, made.contact.id, phone=OTHER)

        await session.refresh(member)
        assert member.phone == PHONE

    async def test_recipient_whose_new_number_is_in_the_campaign_is_skipped(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession
    ) -> None:
        eve = await add_contact(new_uow, phone=OTHER)
        made = await add_contact(new_uow)
        member = await make_recipient(session, made.contact)
        campaign = await session.get_one(Campaign, member.campaign_id)
        await make_member(session, campaign=campaign, contact=eve.contact, status="sent")
        await session.commit()
        await delete_contact(new_uow, eve.contact.id)

        await change_contact(new_uow, made.contact.id, phone=OTHER)

        await session.refresh(member)
        assert (member.phone, member.status) == (PHONE, "skipped")
        assert member.skip_reason == "duplicate_number"

    async def test_waiting_recipient_is_skipped_for_an_opted_out_number(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession
    ) -> None:
        eve = await add_contact(new_uow, phone=OTHER)
        await opt_out_contact(new_uow, eve.contact.id)
        await delete_contact(new_uow, eve.contact.id)
        made = await add_contact(new_uow)
        member = await make_recipient(session, made.contact)

        found = await change_contact(new_uow, made.contact.id, phone=OTHER)

        await session.refresh(member)
        assert found.flags == ["opted_out"]
        assert (member.status, member.skip_reason) == ("skipped", "opted_out")


class TestDelete:
    async def test_fields_are_cleared_and_the_number_is_kept(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession
    ) -> None:
        made = await add_contact(
            new_uow,
            first_name="Ada",
            email="ada@example.com",
            address={"street": "1 Main St", "state": "CA"},
            timezone="America/Chicago",
            tags=["vip"],
            attributes={"roof": "slate"},
        )
        await make_list(session, contacts=[made.contact])
        await session.commit()

        await delete_contact(new_uow, made.contact.id)

        stored = await session.scalar(select(Contact).execution_options(populate_existing=True))
        assert stored is not None
        assert (stored.phone, stored.deleted_at) == (PHONE, LATER)
        assert stored.search_text.split() == [PHONE]
        assert {stored.street, stored.state, stored.timezone} == {None}
        assert (stored.tags, stored.attributes) == ([], {})
        assert stored.zone_key == "MA/America/New_York"
        assert list(await session.scalars(select(ContactListMember))) == []

    @pytest.mark.parametrize("status", ["pending", "review", "held"])
    async def test_waiting_recipient_is_skipped(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession, status: str
    ) -> None:
        made = await add_contact(new_uow)
        member = await make_recipient(session, made.contact, status=status)

        await delete_contact(new_uow, made.contact.id)

        await session.refresh(member)
        assert (member.status, member.skip_reason) == ("skipped", "contact_deleted")

    @pytest.mark.parametrize("status", ["sending", "unknown"])
    async def test_recipient_under_way_gets_the_zone_of_the_number(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession, status: str
    ) -> None:
        made = await add_contact(new_uow, address={"state": "CA", "postal_code": "90001"})
        member = await make_recipient(session, made.contact, status=status)

        await delete_contact(new_uow, made.contact.id)

        await session.refresh(member)
        assert (member.status, member.zone_key) == (status, "MA/America/New_York")
        campaign = await session.get_one(Campaign, member.campaign_id, populate_existing=True)
        assert member.zone_key in campaign.zone_keys

    @pytest.mark.parametrize("status", ["sending", "unknown"])
    async def test_recipient_under_way_gets_the_zone_of_the_contact_that_is_added_again(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession, status: str
    ) -> None:
        made = await add_contact(new_uow)
        member = await make_recipient(session, made.contact, status=status)
        await delete_contact(new_uow, made.contact.id)

        await add_contact(new_uow, address={"state": "HI", "postal_code": "96813"})

        await session.refresh(member)
        assert "Pacific/Honolulu" in member.zone_key
        campaign = await session.get_one(Campaign, member.campaign_id, populate_existing=True)
        assert member.zone_key in campaign.zone_keys

    async def test_delivered_recipient_is_not_changed(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession
    ) -> None:
        made = await add_contact(new_uow)
        member = await make_recipient(session, made.contact, status="delivered")

        await delete_contact(new_uow, made.contact.id)

        await session.refresh(member)
        assert member.status == "delivered"


class TestDecisions:
    async def test_missing_flag_cannot_be_removed(self, new_uow: UnitOfWorkFactory) -> None:
        made = await add_contact(new_uow)

        async with new_uow() as uow:
            with pytest.raises(FlagNotFoundError):
                await decisions.remove_flag(uow, contact_id=made.contact.id, flag="vip", **BY_KEY)

    async def test_opt_in_ends_opt_out(self, new_uow: UnitOfWorkFactory) -> None:
        made = await add_contact(new_uow)
        await opt_out_contact(new_uow, made.contact.id)

        async with new_uow() as uow:
            found = await decisions.opt_in(
                uow,
                contact_id=made.contact.id,
                decision=ConsentDecision(reason="asked again"),
                **BY_KEY,
            )

        assert found.flags == []

    @pytest.mark.parametrize("spelling", ["Opted Out", "OPTED_OUT", "opted-out"])
    async def test_known_flag_is_recognised_in_any_spelling(self, spelling: str) -> None:
        assert FlagCreate(flag=spelling).flag == "opted_out"

    async def test_custom_flag_keeps_its_spelling(self) -> None:
        assert FlagCreate(flag=" VIP customer ").flag == "VIP customer"


class TestTimeline:
    async def test_items_of_all_kinds_are_ordered_by_time(
        self, new_uow: UnitOfWorkFactory, session: AsyncSession
    ) -> None:
        made = await add_contact(new_uow)
        member = await make_recipient(session, made.contact)
        for minutes, kind in ((10, "message"), (20, "call")):
            session.add(
                Activity(
                    kind=kind,
                    direction="incoming",
                    origin="provider",
                    contact_id=made.contact.id,
                    phone=PHONE,
                    body="Yes please" if kind == "message" else None,
                    status="received",
                    occurred_at=NOW + timedelta(minutes=minutes),
                    created_at=NOW,
                    updated_at=NOW,
                )
            )
        await session.commit()
        by_key = BY_KEY | {"now": NOW + timedelta(minutes=15)}
        async with new_uow() as uow:
            await decisions.opt_out(
                uow,
                contact_id=made.contact.id,
                decision=ConsentDecision(reason="by phone", note="twice"),
                **by_key,
            )

        items: list[Any] = []
        cursor: str | None = None
        for _ in range(4):
            async with new_uow() as uow:
                page = await list_timeline(
                    uow,
                    contact_id=made.contact.id,
                    secret=SECRET,
                    cursor=cursor,
                    limit=1,
                    now=NOW,
                )
            items += page.data
            cursor = page.next_cursor

        # The campaign step appears at the time at which the opt-out skipped it.
        assert [item.type for item in items] == ["call", "campaign_step", "opt_out", "message"]
        assert cursor is None
        assert items[1].id == str(member.id)
        assert (items[1].campaign_name, items[1].status) == ("Autumn check", "skipped")
        assert (items[2].reason, items[2].note) == ("by phone", "twice")
        assert items[3].body == "Yes please"

    async def test_invalid_cursor_is_refused(self, new_uow: UnitOfWorkFactory) -> None:
        made = await add_contact(new_uow)

        async with new_uow() as uow:
            with pytest.raises(InvalidCursorError):
                await list_timeline(
                    uow,
                    contact_id=made.contact.id,
                    secret=SECRET,
                    cursor="x",
                    limit=1,
                    now=NOW,
                )

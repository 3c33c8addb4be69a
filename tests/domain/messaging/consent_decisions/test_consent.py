"""Decisions about numbers, against the database."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.consent.errors import ConsentDoesNotExpireError
from crm_api.domain.consent.models import (
    ConsentEntry,
    ConsentSource,
    ConsentWording,
    ContactFlag,
    FlagType,
    hash_phone,
)
from crm_api.domain.kit.paging import Cursors, InvalidCursorError
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.flags import (
    find_contacts_on_hold,
    find_suppressed_numbers,
    flags_of,
)
from crm_api.domain.messaging.models.sends import AttemptStatus, SendAttempt
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

PHONE = "+16175550123"
SECRET = b"the key of these tests"


def act(**changes: Any) -> Any:
    """Return the arguments of a person's own STOP; keyword arguments change them."""
    return {
        "phone": PHONE,
        "contact_id": None,
        "source": ConsentSource.MESSAGE,
        "actor": "person",
        "reason": "STOP",
        "now": NOW,
        "secret": SECRET,
        **changes,
    }


async def entries(new_uow: UnitOfWorkFactory) -> list[tuple[ConsentEntry, ConsentWording | None]]:
    """Return the history, newest first."""
    async with new_uow() as uow:
        page = await consent.history(uow, phone=PHONE, secret=SECRET, cursor=None, limit=50)
    return page.data


async def flags(new_uow: UnitOfWorkFactory, *, after: timedelta = timedelta()) -> set[str]:
    async with new_uow() as uow:
        return (await flags_of(uow.session, [PHONE], now=NOW + after))[PHONE]


async def waiting_member(
    new_uow: UnitOfWorkFactory, *, status: str = "pending", **contact: Any
) -> CampaignMembership:
    async with new_uow() as uow:
        line = await make_line(uow.session)
        campaign = await make_campaign(uow.session, line=line)
        person = await make_contact(uow.session, phone=PHONE, **contact)
        return await make_member(uow.session, campaign=campaign, contact=person, status=status)


async def attempt(
    session: AsyncSession, member: CampaignMembership, *, status: AttemptStatus
) -> SendAttempt:
    campaign_line = await session.execute(
        text("SELECT line_id FROM campaign WHERE id = :id"), {"id": member.campaign_id}
    )
    made = SendAttempt(
        membership_id=member.id,
        campaign_id=member.campaign_id,
        line_id=campaign_line.scalar_one(),
        activity_id=new_id(),
        phone=member.phone,
        body="Hi",
        status=status,
        token=new_id(),
        lease_until=NOW + timedelta(minutes=1),
        called_at=None if status is AttemptStatus.CLAIMED else NOW,
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(made)
    await session.flush()
    return made


async def status_of(session: AsyncSession, member: CampaignMembership) -> tuple[str, str | None]:
    found = await session.execute(
        select(CampaignMembership.status, CampaignMembership.skip_reason).where(
            CampaignMembership.id == member.id
        )
    )
    status, skip_reason = found.one()
    return status, skip_reason


async def test_opt_out_sets_the_flag_and_is_remembered(new_uow: UnitOfWorkFactory) -> None:
    message = new_id()

    async with new_uow() as uow:
        is_new = await consent.opt_out(
            uow, **act(note="by text", evidence={"text": "Stop!"}, activity_id=message)
        )

    [(entry, wording)] = await entries(new_uow)
    assert is_new
    assert await flags(new_uow) == {"opted_out"}
    assert (entry.action, entry.source, entry.actor, entry.activity_id) == (
        "opt_out",
        "message",
        "person",
        message,
    )
    assert wording is not None
    assert wording.evidence == {"text": "Stop!", "under_way": []}
    assert (wording.reason, wording.note, wording.phone) == ("STOP", "by text", PHONE)


async def test_entry_names_the_number_only_by_its_keyed_hash(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **act())

    [(entry, _)] = await entries(new_uow)
    assert entry.phone_hash == hash_phone(PHONE, SECRET)
    assert len(entry.phone_hash) == 32
    assert entry.phone_hash != hash_phone(PHONE, b"another key")


async def test_repeated_opt_out_leaves_the_flag_and_another_entry(
    new_uow: UnitOfWorkFactory,
) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **act())
        is_new = await consent.opt_out(uow, **act(now=NOW + timedelta(days=1), reason="again"))

    async with new_uow() as uow:
        [flag] = await uow.session.scalars(select(ContactFlag))
    assert not is_new
    assert (flag.created_at, flag.reason) == (NOW, "STOP")
    assert len(await entries(new_uow)) == 2


@pytest.mark.parametrize("source", [ConsentSource.IMPORT, ConsentSource.PROVIDER])
async def test_known_opt_out_repeated_by_a_list_appends_no_entry(
    new_uow: UnitOfWorkFactory, source: ConsentSource
) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **act(source=source))
        await consent.opt_out(uow, **act(source=source))

    assert len(await entries(new_uow)) == 1


async def test_opt_out_skips_what_waits(new_uow: UnitOfWorkFactory, session: AsyncSession) -> None:
    member = await waiting_member(new_uow)

    async with new_uow() as uow:
        await consent.opt_out(uow, **act())

    assert await status_of(session, member) == ("skipped", "opted_out")


async def test_opt_out_takes_back_a_claim_and_names_what_is_under_way(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    member = await waiting_member(new_uow, status="sending")
    claimed = await attempt(session, member, status=AttemptStatus.CLAIMED)
    await session.commit()

    async with new_uow() as uow:
        await consent.opt_out(uow, **act())

    await session.refresh(claimed)
    [(_, wording)] = await entries(new_uow)
    assert claimed.status == "released"
    assert await status_of(session, member) == ("skipped", "opted_out")
    assert wording is not None
    assert wording.evidence["under_way"] == []


async def test_opt_out_names_a_message_past_the_gate(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    member = await waiting_member(new_uow, status="sending")
    calling = await attempt(session, member, status=AttemptStatus.CALLING)
    await session.commit()

    async with new_uow() as uow:
        await consent.opt_out(uow, **act())

    [(_, wording)] = await entries(new_uow)
    assert wording is not None
    [under_way] = wording.evidence["under_way"]
    assert under_way["attempt_id"] == str(calling.id)
    assert under_way["status"] == "calling"


async def test_hold_waits_and_release_lets_go_on(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    member = await waiting_member(new_uow)

    async with new_uow() as uow:
        is_held = await consent.place_hold(uow, **act(reason="wrong number"))
    held = await status_of(session, member)
    async with new_uow() as uow:
        is_released = await consent.release_hold(
            uow, **act(source=ConsentSource.API, actor="Ada's key")
        )

    assert is_held
    assert is_released
    assert held == ("held", None)
    assert await status_of(session, member) == ("pending", None)
    assert await flags(new_uow) == set()
    assert [entry.action for entry, _ in await entries(new_uow)] == ["release", "hold"]


async def test_opt_out_confirms_a_hold(new_uow: UnitOfWorkFactory, session: AsyncSession) -> None:
    member = await waiting_member(new_uow)

    async with new_uow() as uow:
        await consent.place_hold(uow, **act())
        await consent.opt_out(uow, **act())

    assert await flags(new_uow) == {"opted_out"}
    assert await status_of(session, member) == ("skipped", "opted_out")


async def test_opt_in_lifts_opt_out_and_hold(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    member = await waiting_member(new_uow)

    async with new_uow() as uow:
        await consent.place_hold(uow, **act())
        later = NOW + timedelta(seconds=1)
        was_stopped = await consent.opt_in(uow, **act(reason="START", now=later))

    assert was_stopped
    assert await flags(new_uow) == set()
    assert await status_of(session, member) == ("pending", None)


async def test_opt_in_of_a_free_number_is_remembered(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        was_stopped = await consent.opt_in(uow, **act(reason="START"))

    assert not was_stopped
    assert [entry.action for entry, _ in await entries(new_uow)] == ["opt_in"]


async def test_opted_out_number_is_not_held(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **act())
        is_held = await consent.place_hold(uow, **act())

    assert not is_held
    assert await flags(new_uow) == {"opted_out"}
    assert len(await entries(new_uow)) == 2


async def test_release_of_a_free_number_leaves_nothing(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        is_released = await consent.release_hold(uow, **act())

    assert not is_released
    assert await entries(new_uow) == []


async def test_history_is_append_only(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **act())

    for statement in ("UPDATE consent_entry SET actor = 'x'", "DELETE FROM consent_entry"):
        async with new_uow() as uow:
            with pytest.raises(DBAPIError, match="append-only"):
                async with uow.session.begin_nested():
                    await uow.session.execute(text(statement))


async def test_erased_wording_leaves_the_entry(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **act())
        await uow.session.execute(text("DELETE FROM consent_wording"))

    [(entry, wording)] = await entries(new_uow)
    assert entry.action == "opt_out"
    assert wording is None


async def test_history_pages_to_its_end(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        for position in range(5):
            await consent.opt_out(uow, **act(reason=str(position)))

    seen: list[str | None] = []
    cursor: str | None = None
    while True:
        async with new_uow() as uow:
            page = await consent.history(uow, phone=PHONE, secret=SECRET, cursor=cursor, limit=2)
            # An entry that comes in between belongs to none of the older pages.
            await consent.opt_out(uow, **act(reason="later"))
        seen += [wording.reason for _, wording in page.data if wording]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == ["4", "3", "2", "1", "0"]


async def test_foreign_cursor_is_refused(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        with pytest.raises(InvalidCursorError):
            await consent.history(uow, phone=PHONE, secret=SECRET, cursor="AAAA", limit=2)


async def test_cursor_with_an_impossible_place_finds_the_newest(
    new_uow: UnitOfWorkFactory,
) -> None:
    named = hash_phone(PHONE, SECRET).hex()
    forged = Cursors("consent_history", phone_hash=named).write(NOW, new_id())

    async with new_uow() as uow:
        await consent.opt_out(uow, **act())
        page = await consent.history(uow, phone=PHONE, secret=SECRET, cursor=forged, limit=2)

    assert len(page.data) == 1


async def test_flag_ends_at_its_expiry(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.add_flag(
            uow, flag="recently_texted", expires_at=NOW + timedelta(days=1), **act()
        )

    assert await flags(new_uow) == {"recently_texted"}
    assert await flags(new_uow, after=timedelta(days=1)) == set()


@pytest.mark.parametrize("expires_at", [NOW - timedelta(days=1), NOW + timedelta(days=1)])
async def test_opt_out_replaces_a_flag_with_an_end(
    new_uow: UnitOfWorkFactory, expires_at: datetime
) -> None:
    async with new_uow() as uow:
        uow.session.add(
            ContactFlag(phone=PHONE, flag_type="opted_out", expires_at=expires_at, created_at=NOW)
        )

    async with new_uow() as uow:
        await consent.opt_out(uow, **act())

    assert await flags(new_uow, after=timedelta(days=9)) == {"opted_out"}


async def test_flag_set_again_takes_the_new_expiry(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.add_flag(uow, flag="vip", expires_at=NOW + timedelta(days=1), **act())
        await consent.add_flag(uow, flag="vip", expires_at=None, **act())

    assert await flags(new_uow, after=timedelta(days=9)) == {"vip"}


async def test_do_not_contact_skips_what_waits(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    member = await waiting_member(new_uow)

    async with new_uow() as uow:
        await consent.add_flag(uow, flag=FlagType.DO_NOT_CONTACT, expires_at=None, **act())

    assert (await status_of(session, member))[0] == "skipped"
    assert await entries(new_uow) == []


@pytest.mark.parametrize("flag", [FlagType.OPTED_OUT, FlagType.OPT_OUT_HOLD])
async def test_opt_out_and_hold_take_no_expiry(new_uow: UnitOfWorkFactory, flag: FlagType) -> None:
    async with new_uow() as uow:
        with pytest.raises(ConsentDoesNotExpireError):
            await consent.add_flag(uow, flag=flag, expires_at=NOW, **act())


async def test_consent_flags_go_through_the_history(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.add_flag(uow, flag=FlagType.OPT_OUT_HOLD, expires_at=None, **act())
        await consent.remove_flag(uow, flag=FlagType.OPT_OUT_HOLD, **act())
        await consent.add_flag(uow, flag=FlagType.OPTED_OUT, expires_at=None, **act())
        await consent.remove_flag(uow, flag=FlagType.OPTED_OUT, **act())
        await consent.add_flag(uow, flag="vip", expires_at=None, **act())
        is_removed = await consent.remove_flag(uow, flag="vip", **act())
        was_there = await consent.remove_flag(uow, flag="vip", **act())

    assert is_removed
    assert not was_there
    assert [entry.action for entry, _ in await entries(new_uow)] == [
        "opt_in",
        "opt_out",
        "release",
        "hold",
    ]


async def test_suppressed_are_those_with_a_current_flag(new_uow: UnitOfWorkFactory) -> None:
    free, over, stopped = "+16175550101", "+16175550102", "+16175550103"

    async with new_uow() as uow:
        await consent.opt_out(uow, **act(phone=stopped))
        await consent.add_flag(uow, flag=FlagType.DO_NOT_CONTACT, expires_at=NOW, **act(phone=over))
        found = await find_suppressed_numbers(uow.session, [free, over, stopped], now=NOW)

    assert found == {stopped}


async def test_hold_of_a_contact_ends_at_its_expiry(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        person = await make_contact(uow.session, phone=PHONE)
        uow.session.add(
            ContactFlag(phone=PHONE, flag_type="opt_out_hold", expires_at=NOW, created_at=NOW)
        )
        await uow.session.flush()

        before, at_expiry = [
            await find_contacts_on_hold(uow.session, contact_ids=[person.id], now=now)
            for now in (NOW - timedelta(seconds=1), NOW)
        ]

    assert (before, at_expiry) == ({person.id}, set())


async def test_opt_outs_at_once_are_one_flag_and_two_entries(
    committed_uow: UnitOfWorkFactory,
) -> None:
    async def stop() -> bool:
        async with committed_uow() as uow:
            return await consent.opt_out(uow, **act())

    results = await asyncio.gather(stop(), stop())

    assert sorted(results) == [False, True]
    assert len(await entries(committed_uow)) == 2
    async with committed_uow() as uow:
        assert len(list(await uow.session.scalars(select(ContactFlag)))) == 1
        assert not list(await uow.session.scalars(select(Contact)))

"""Decisions about the consent of phone numbers, stored in the database."""

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


def stop_decision(**changes: Any) -> Any:
    """Return the arguments of an opt-out by the word STOP; ``changes`` replaces some of them."""
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
    """Return the consent history of the number, the newest entry first."""
    async with new_uow() as uow:
        page = await consent.history(uow, phone=PHONE, secret=SECRET, cursor=None, limit=50)
    return page.data


async def flags(new_uow: UnitOfWorkFactory, *, after: timedelta = timedelta()) -> set[str]:
    async with new_uow() as uow:
        return (await flags_of(uow.session, [PHONE], now=NOW + after))[PHONE]


async def add_waiting_recipient(
    new_uow: UnitOfWorkFactory, *, status: str = "pending", **contact: Any
) -> CampaignMembership:
    async with new_uow() as uow:
        line = await make_line(uow.session)
        campaign = await make_campaign(uow.session, line=line)
        person = await make_contact(uow.session, phone=PHONE, **contact)
        return await make_member(uow.session, campaign=campaign, contact=person, status=status)


async def add_attempt(
    session: AsyncSession, recipient: CampaignMembership, *, status: AttemptStatus
) -> SendAttempt:
    campaign_line = await session.execute(
        text("SELECT line_id FROM campaign WHERE id = :id"), {"id": recipient.campaign_id}
    )
    attempt = SendAttempt(
        membership_id=recipient.id,
        campaign_id=recipient.campaign_id,
        line_id=campaign_line.scalar_one(),
        activity_id=new_id(),
        phone=recipient.phone,
        body="Hi",
        status=status,
        token=new_id(),
        lease_until=NOW + timedelta(minutes=1),
        called_at=None if status is AttemptStatus.CLAIMED else NOW,
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(attempt)
    await session.flush()
    return attempt


async def read_status(
    session: AsyncSession, recipient: CampaignMembership
) -> tuple[str, str | None]:
    found = await session.execute(
        select(CampaignMembership.status, CampaignMembership.skip_reason).where(
            CampaignMembership.id == recipient.id
        )
    )
    status, skip_reason = found.one()
    return status, skip_reason


async def test_opt_out_sets_the_flag_and_appends_an_entry(new_uow: UnitOfWorkFactory) -> None:
    message = new_id()

    async with new_uow() as uow:
        is_new = await consent.opt_out(
            uow, **stop_decision(note="by text", evidence={"text": "Stop!"}, activity_id=message)
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
        await consent.opt_out(uow, **stop_decision())

    [(entry, _)] = await entries(new_uow)
    assert entry.phone_hash == hash_phone(PHONE, SECRET)
    assert len(entry.phone_hash) == 32
    assert entry.phone_hash != hash_phone(PHONE, b"another key")


async def test_repeated_opt_out_keeps_the_flag_and_appends_an_entry(
    new_uow: UnitOfWorkFactory,
) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())
        is_new = await consent.opt_out(
            uow, **stop_decision(now=NOW + timedelta(days=1), reason="again")
        )

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
        await consent.opt_out(uow, **stop_decision(source=source))
        await consent.opt_out(uow, **stop_decision(source=source))

    assert len(await entries(new_uow)) == 1


async def test_opt_out_skips_waiting_recipients(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    recipient = await add_waiting_recipient(new_uow)

    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())

    assert await read_status(session, recipient) == ("skipped", "opted_out")


async def test_opt_out_releases_a_claim_that_has_not_been_called(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    recipient = await add_waiting_recipient(new_uow, status="sending")
    claimed = await add_attempt(session, recipient, status=AttemptStatus.CLAIMED)
    await session.commit()

    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())

    await session.refresh(claimed)
    [(_, wording)] = await entries(new_uow)
    assert claimed.status == "released"
    assert await read_status(session, recipient) == ("skipped", "opted_out")
    assert wording is not None
    assert wording.evidence["under_way"] == []


async def test_opt_out_names_a_message_whose_call_has_begun(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    recipient = await add_waiting_recipient(new_uow, status="sending")
    calling = await add_attempt(session, recipient, status=AttemptStatus.CALLING)
    await session.commit()

    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())

    [(_, wording)] = await entries(new_uow)
    assert wording is not None
    [under_way] = wording.evidence["under_way"]
    assert under_way["attempt_id"] == str(calling.id)
    assert under_way["status"] == "calling"


async def test_hold_stops_a_recipient_and_release_restores_it(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    recipient = await add_waiting_recipient(new_uow)

    async with new_uow() as uow:
        is_held = await consent.place_hold(uow, **stop_decision(reason="wrong number"))
    held = await read_status(session, recipient)
    async with new_uow() as uow:
        is_released = await consent.release_hold(
            uow, **stop_decision(source=ConsentSource.API, actor="Ada's key")
        )

    assert is_held
    assert is_released
    assert held == ("held", None)
    assert await read_status(session, recipient) == ("pending", None)
    assert await flags(new_uow) == set()
    assert [entry.action for entry, _ in await entries(new_uow)] == ["release", "hold"]


async def test_opt_out_confirms_a_hold(new_uow: UnitOfWorkFactory, session: AsyncSession) -> None:
    recipient = await add_waiting_recipient(new_uow)

    async with new_uow() as uow:
        await consent.place_hold(uow, **stop_decision())
        await consent.opt_out(uow, **stop_decision())

    assert await flags(new_uow) == {"opted_out"}
    assert await read_status(session, recipient) == ("skipped", "opted_out")


async def test_opt_in_lifts_a_hold(new_uow: UnitOfWorkFactory, session: AsyncSession) -> None:
    recipient = await add_waiting_recipient(new_uow)

    async with new_uow() as uow:
        await consent.place_hold(uow, **stop_decision())
        later = NOW + timedelta(seconds=1)
        was_stopped = await consent.opt_in(uow, **stop_decision(reason="START", now=later))

    assert was_stopped
    assert await flags(new_uow) == set()
    assert await read_status(session, recipient) == ("pending", None)


async def test_opt_in_of_a_number_without_flags_appends_an_entry(
    new_uow: UnitOfWorkFactory,
) -> None:
    async with new_uow() as uow:
        was_stopped = await consent.opt_in(uow, **stop_decision(reason="START"))

    assert not was_stopped
    assert [entry.action for entry, _ in await entries(new_uow)] == ["opt_in"]


async def test_opted_out_number_is_not_held(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())
        is_held = await consent.place_hold(uow, **stop_decision())

    assert not is_held
    assert await flags(new_uow) == {"opted_out"}
    assert len(await entries(new_uow)) == 2


async def test_release_of_a_number_without_a_hold_appends_no_entry(
    new_uow: UnitOfWorkFactory,
) -> None:
    async with new_uow() as uow:
        is_released = await consent.release_hold(uow, **stop_decision())

    assert not is_released
    assert await entries(new_uow) == []


async def test_history_is_append_only(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())

    for statement in ("UPDATE consent_entry SET actor = 'x'", "DELETE FROM consent_entry"):
        async with new_uow() as uow:
            with pytest.raises(DBAPIError, match="append-only"):
                async with uow.session.begin_nested():
                    await uow.session.execute(text(statement))


async def test_entry_remains_when_its_wording_is_erased(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())
        await uow.session.execute(text("DELETE FROM consent_wording"))

    [(entry, wording)] = await entries(new_uow)
    assert entry.action == "opt_out"
    assert wording is None


async def test_history_is_read_in_pages_to_its_end(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        for position in range(5):
            await consent.opt_out(uow, **stop_decision(reason=str(position)))

    seen: list[str | None] = []
    cursor: str | None = None
    while True:
        async with new_uow() as uow:
            page = await consent.history(uow, phone=PHONE, secret=SECRET, cursor=cursor, limit=2)
            # This entry is appended between the reads of two pages. It must not appear on the
            # second page.
            await consent.opt_out(uow, **stop_decision(reason="later"))
        seen += [wording.reason for _, wording in page.data if wording]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == ["4", "3", "2", "1", "0"]


async def test_invalid_cursor_is_refused(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        with pytest.raises(InvalidCursorError):
            await consent.history(uow, phone=PHONE, secret=SECRET, cursor="AAAA", limit=2)


async def test_cursor_of_an_unknown_entry_returns_the_newest_entries(
    new_uow: UnitOfWorkFactory,
) -> None:
    named = hash_phone(PHONE, SECRET).hex()
    forged = Cursors("consent_history", phone_hash=named).write(NOW, new_id())

    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())
        page = await consent.history(uow, phone=PHONE, secret=SECRET, cursor=forged, limit=2)

    assert len(page.data) == 1


async def test_flag_ends_at_its_expiry(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.add_flag(
            uow, flag="recently_texted", expires_at=NOW + timedelta(days=1), **stop_decision()
        )

    assert await flags(new_uow) == {"recently_texted"}
    assert await flags(new_uow, after=timedelta(days=1)) == set()


@pytest.mark.parametrize("expires_at", [NOW - timedelta(days=1), NOW + timedelta(days=1)])
async def test_opt_out_replaces_a_flag_that_has_an_expiry(
    new_uow: UnitOfWorkFactory, expires_at: datetime
) -> None:
    async with new_uow() as uow:
        uow.session.add(
            ContactFlag(phone=PHONE, flag_type="opted_out", expires_at=expires_at, created_at=NOW)
        )

    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision())

    assert await flags(new_uow, after=timedelta(days=9)) == {"opted_out"}


async def test_repeated_flag_takes_the_new_expiry(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.add_flag(
            uow, flag="vip", expires_at=NOW + timedelta(days=1), **stop_decision()
        )
        await consent.add_flag(uow, flag="vip", expires_at=None, **stop_decision())

    assert await flags(new_uow, after=timedelta(days=9)) == {"vip"}


async def test_do_not_contact_skips_waiting_recipients(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    recipient = await add_waiting_recipient(new_uow)

    async with new_uow() as uow:
        await consent.add_flag(
            uow, flag=FlagType.DO_NOT_CONTACT, expires_at=None, **stop_decision()
        )

    assert (await read_status(session, recipient))[0] == "skipped"
    assert await entries(new_uow) == []


@pytest.mark.parametrize("flag", [FlagType.OPTED_OUT, FlagType.OPT_OUT_HOLD])
async def test_opt_out_and_hold_cannot_have_an_expiry(
    new_uow: UnitOfWorkFactory, flag: FlagType
) -> None:
    async with new_uow() as uow:
        with pytest.raises(ConsentDoesNotExpireError):
            await consent.add_flag(uow, flag=flag, expires_at=NOW, **stop_decision())


async def test_changes_of_consent_flags_are_in_the_history(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await consent.add_flag(uow, flag=FlagType.OPT_OUT_HOLD, expires_at=None, **stop_decision())
        await consent.remove_flag(uow, flag=FlagType.OPT_OUT_HOLD, **stop_decision())
        await consent.add_flag(uow, flag=FlagType.OPTED_OUT, expires_at=None, **stop_decision())
        await consent.remove_flag(uow, flag=FlagType.OPTED_OUT, **stop_decision())
        await consent.add_flag(uow, flag="vip", expires_at=None, **stop_decision())
        is_removed = await consent.remove_flag(uow, flag="vip", **stop_decision())
        was_there = await consent.remove_flag(uow, flag="vip", **stop_decision())

    assert is_removed
    assert not was_there
    assert [entry.action for entry, _ in await entries(new_uow)] == [
        "opt_in",
        "opt_out",
        "release",
        "hold",
    ]


async def test_only_numbers_with_a_current_flag_are_suppressed(new_uow: UnitOfWorkFactory) -> None:
    free, over, stopped = "+16175550101", "+16175550102", "+16175550103"

    async with new_uow() as uow:
        await consent.opt_out(uow, **stop_decision(phone=stopped))
        await consent.add_flag(
            uow, flag=FlagType.DO_NOT_CONTACT, expires_at=NOW, **stop_decision(phone=over)
        )
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


async def test_two_opt_outs_at_the_same_moment_make_one_flag_and_two_entries(
    committed_uow: UnitOfWorkFactory,
) -> None:
    async def stop() -> bool:
        async with committed_uow() as uow:
            return await consent.opt_out(uow, **stop_decision())

    results = await asyncio.gather(stop(), stop())

    assert sorted(results) == [False, True]
    assert len(await entries(committed_uow)) == 2
    async with committed_uow() as uow:
        assert len(list(await uow.session.scalars(select(ContactFlag)))) == 1
        assert not list(await uow.session.scalars(select(Contact)))

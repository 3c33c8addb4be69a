"""A large audience is stored in chunks. After a crash, any worker can store the next chunk."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.audiences import NewUow, make_contacts, read_recipients
from tests.factories import make_campaign, make_contact, make_line, make_list, number
from tests.fakes import RecordingQueue

from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.campaigns.audience.storage import (
    StoredChunk,
    list_unstored_audiences,
    store_next_chunk,
)
from crm_api.domain.campaigns.campaign_detail import read_campaign
from crm_api.domain.campaigns.lifecycle import begin_due_campaigns
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.lists import ContactListMember
from crm_api.platform.jobs import JobName

SECOND = timedelta(seconds=1)


class WorkerCrashError(Exception):
    """Simulated crash of a worker process."""


async def start_campaign_to_list(session: AsyncSession, count: int, **values: object) -> Campaign:
    """Start a campaign to a list of ``count`` people."""
    homeowners = await make_list(session, contacts=await make_contacts(session, count))
    audience = {"list_id": str(homeowners.id), **values}
    campaign = await make_campaign(
        session,
        line=await make_line(session),
        bodies=("A", "B"),
        audience=audience,
        status="scheduled",
        started_at=NOW,
    )
    await session.commit()
    return campaign


async def store_chunk(new_uow: NewUow, campaign: Campaign, limit: int) -> StoredChunk | None:
    async with new_uow() as uow:
        return await store_next_chunk(uow, campaign_id=campaign.id, limit=limit, now=NOW)


async def store_all_chunks(new_uow: NewUow, campaign: Campaign, limit: int) -> list[int]:
    counts = []
    while stored := await store_chunk(new_uow, campaign, limit):
        counts.append(stored.people)
    return counts


async def read_states(
    session: AsyncSession, campaign: Campaign
) -> dict[str, tuple[str, str | None]]:
    """Return the status and skip reason of each stored recipient, by number."""
    rows = await read_recipients(session, campaign)
    return {phone: (row.status, row.skip_reason) for phone, row in rows.items()}


async def test_audience_is_stored_chunk_by_chunk(session: AsyncSession, new_uow: NewUow) -> None:
    campaign = await start_campaign_to_list(session, 7)
    seen = []

    while (stored := await store_chunk(new_uow, campaign, 3)) is not None:
        await session.refresh(campaign)
        seen.append((stored.people, campaign.recipients_written, campaign.recipients_total))
        assert stored.is_whole == (campaign.recipients_total is not None)

    assert seen == [(3, 3, None), (3, 6, None), (1, 7, 7)]
    assert len(await read_recipients(session, campaign)) == 7


async def test_last_full_chunk_is_followed_by_an_empty_chunk(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await start_campaign_to_list(session, 6)

    counts = await store_all_chunks(new_uow, campaign, 3)

    await session.refresh(campaign)
    assert counts == [3, 3, 0]
    assert campaign.recipients_total == 6


async def test_zone_keys_of_all_chunks_are_stored(session: AsyncSession, new_uow: NewUow) -> None:
    contacts = await make_contacts(session, 6)
    for contact, zone_key in zip(contacts, "abcdea", strict=True):
        contact.zone_key = zone_key
    campaign = await make_campaign(
        session,
        line=await make_line(session),
        audience={"contact_ids": [str(contact.id) for contact in contacts]},
        status="scheduled",
        started_at=NOW,
    )
    await session.commit()

    counts = await store_all_chunks(new_uow, campaign, 2)

    await session.refresh(campaign)
    assert counts == [2, 2, 2, 0]
    assert campaign.zone_keys == ["a", "b", "c", "d", "e"]


async def test_audience_is_the_same_in_chunks_of_any_size(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await start_campaign_to_list(session, 40)
    by_size = []

    for size in (1, 7, 40, 1000):
        await store_all_chunks(new_uow, campaign, size)
        rows = await read_recipients(session, campaign)
        by_size.append(Counter((row.phone, row.status, row.variant) for row in rows.values()))
        await session.refresh(campaign)
        for row in rows.values():
            await session.delete(row)
        campaign.recipients_total, campaign.recipients_written = None, 0
        campaign.written_up_to = None
        await session.commit()

    assert by_size[0].total() == 40
    assert all(counts_of_size == by_size[0] for counts_of_size in by_size)


async def test_crashed_worker_loses_its_chunk_and_another_worker_continues(
    committed_uow: NewUow,
) -> None:
    async with committed_uow() as uow:
        campaign = await start_campaign_to_list(uow.session, 10)
    await store_chunk(committed_uow, campaign, 4)

    with pytest.raises(WorkerCrashError):
        async with committed_uow() as uow:
            await store_next_chunk(uow, campaign_id=campaign.id, limit=4, now=NOW)
            raise WorkerCrashError
    counts = await store_all_chunks(committed_uow, campaign, 4)

    async with committed_uow() as uow:
        detail = await read_campaign(uow, campaign_id=campaign.id)
        rows = await read_recipients(uow.session, campaign)
    assert counts == [4, 2]
    assert (detail.campaign.recipients_written, detail.campaign.recipients_total) == (10, 10)
    assert sorted(rows) == [number(position) for position in range(10)]


async def test_concurrent_workers_store_each_recipient_once(committed_uow: NewUow) -> None:
    async with committed_uow() as uow:
        campaign = await start_campaign_to_list(uow.session, 40)

    async def work() -> int:
        total = 0
        while True:
            async with committed_uow() as uow:
                waiting = await list_unstored_audiences(uow)
            if not waiting:
                return total
            stored = await store_chunk(committed_uow, campaign, 3)
            total += stored.people if stored else 0

    async with asyncio.timeout(30):
        totals = await asyncio.gather(work(), work(), work())

    async with committed_uow() as uow:
        detail = await read_campaign(uow, campaign_id=campaign.id)
        assert len(await read_recipients(uow.session, campaign)) == 40
    assert sum(totals) == 40
    assert detail.campaign.recipients_total == 40


async def test_campaign_begins_only_when_its_audience_is_complete(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await start_campaign_to_list(session, 3)
    await store_chunk(new_uow, campaign, 2)

    async with new_uow() as uow:
        early = await begin_due_campaigns(uow, now=NOW)
    await store_chunk(new_uow, campaign, 2)
    async with new_uow() as uow:
        begun = await begin_due_campaigns(uow, now=NOW)

    assert (early, begun) == ([], [campaign.id])


async def test_pause_stops_storing_chunks_and_resume_continues(
    session: AsyncSession, new_uow: NewUow, queue: RecordingQueue
) -> None:
    campaign = await start_campaign_to_list(session, 5)
    await store_chunk(new_uow, campaign, 2)

    async with new_uow() as uow:
        await campaigns.pause_campaign(uow, campaign_id=campaign.id, now=NOW)
    while_paused = await store_chunk(new_uow, campaign, 2)
    async with new_uow() as uow:
        resumed = await campaigns.resume_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert while_paused is None
    assert resumed.campaign.status == "scheduled"
    assert queue.names == [JobName.PROCESS_CAMPAIGN_QUEUE, JobName.WRITE_AUDIENCES]
    assert await store_all_chunks(new_uow, campaign, 2) == [2, 1]


async def test_cancel_between_chunks_is_final(session: AsyncSession, new_uow: NewUow) -> None:
    campaign = await start_campaign_to_list(session, 5)
    await store_chunk(new_uow, campaign, 2)

    async with new_uow() as uow:
        cancelled = await campaigns.cancel_campaign(uow, campaign_id=campaign.id, now=NOW)

    assert (cancelled.campaign.status, cancelled.campaign.recipients_total) == ("cancelled", 2)
    assert await store_chunk(new_uow, campaign, 2) is None
    assert set((await read_states(session, campaign)).values()) == {("cancelled", None)}


async def test_contact_added_to_the_list_after_the_start_is_not_a_recipient(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await start_campaign_to_list(session, 4)
    await store_chunk(new_uow, campaign, 2)
    list_id = campaign.audience["list_id"]

    known = await make_contact(session, phone=number(50))
    created = await make_contact(session, phone=number(51), now=NOW + SECOND)
    added = {known.id: NOW + SECOND, created.id: NOW}
    session.add_all(
        ContactListMember(list_id=list_id, contact_id=contact_id, added_at=added_at)
        for contact_id, added_at in added.items()
    )
    await session.commit()
    await store_all_chunks(new_uow, campaign, 2)

    assert sorted(await read_states(session, campaign)) == [
        number(position) for position in range(4)
    ]


async def test_changes_between_chunks_apply_to_later_chunks(
    session: AsyncSession, new_uow: NewUow
) -> None:
    neighbours = await make_list(session, name="Neighbours", contacts=[])
    campaign = await start_campaign_to_list(session, 6, exclude={"list_ids": [str(neighbours.id)]})
    await store_chunk(new_uow, campaign, 1)
    stored = await read_states(session, campaign)
    excluded, flagged, *_ = await session.scalars(
        select(Contact).where(Contact.phone.not_in(stored)).order_by(Contact.phone)
    )

    session.add(
        ContactListMember(list_id=neighbours.id, contact_id=excluded.id, added_at=NOW + SECOND)
    )
    session.add(ContactFlag(phone=flagged.phone, flag_type="opted_out", created_at=NOW + SECOND))
    await session.commit()
    await store_all_chunks(new_uow, campaign, 2)

    rows = await read_states(session, campaign)
    assert set(rows) == {number(position) for position in range(6)} - {excluded.phone}
    assert rows.pop(flagged.phone) == ("skipped", "opted_out")
    assert set(rows.values()) == {("pending", None)}


async def test_every_chunk_compares_the_expiry_of_flags_with_the_start(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await start_campaign_to_list(session, 3)
    for position, ends_at in ((0, NOW - SECOND), (2, NOW + SECOND)):
        session.add(
            ContactFlag(
                phone=number(position),
                flag_type="do_not_contact",
                expires_at=ends_at,
                created_at=NOW,
            )
        )
    await session.commit()

    while True:
        async with new_uow() as uow:
            if not await store_next_chunk(
                uow, campaign_id=campaign.id, limit=1, now=NOW + 60 * SECOND
            ):
                break

    assert await read_states(session, campaign) == {
        number(0): ("pending", None),
        number(1): ("pending", None),
        number(2): ("skipped", "do_not_contact"),
    }


async def test_page_without_recipients_is_not_the_last_page(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await start_campaign_to_list(session, 6)
    first = select(Contact.id).order_by(Contact.id).limit(4)
    excluded = [str(contact_id) for contact_id in await session.scalars(first)]
    campaign.audience = {**campaign.audience, "exclude": {"contact_ids": excluded}}
    await session.commit()

    counts = await store_all_chunks(new_uow, campaign, 2)

    await session.refresh(campaign)
    assert counts == [0, 0, 2, 0]
    assert campaign.recipients_total == 2


async def test_number_that_moves_to_another_contact_between_chunks_is_stored_once(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await start_campaign_to_list(session, 2)
    await store_chunk(new_uow, campaign, 1)
    (stored,) = (await read_recipients(session, campaign)).values()
    moved = stored.phone

    contacts = {contact.phone: contact for contact in await session.scalars(select(Contact))}
    other = next(contact for phone, contact in contacts.items() if phone != moved)
    contacts[moved].phone = number(90)
    await session.flush()
    other.phone = moved
    await session.commit()
    await store_all_chunks(new_uow, campaign, 1)

    await session.refresh(campaign)
    assert list(await read_recipients(session, campaign)) == [moved]
    assert campaign.recipients_total == 1

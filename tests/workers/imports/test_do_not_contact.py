"""Do-not-contact lists are applied by a job, in a real database."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.consent.models import ConsentEntry, ContactFlag
from crm_api.domain.imports.do_not_contact import service as do_not_contact
from crm_api.domain.imports.do_not_contact.errors import UploadFinishedError, UploadNotFoundError
from crm_api.domain.imports.do_not_contact.models import DoNotContactUpload, DoNotContactUploadError
from crm_api.domain.imports.do_not_contact.schemas import UploadOptions
from crm_api.domain.imports.do_not_contact.service import DO_NOT_CONTACT_UPLOADS
from crm_api.domain.imports.do_not_contact.source import NumberSource, phone_columns
from crm_api.domain.imports.files import runs
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.workers.import_runs import write_import
from crm_api.workers.imports import UPLOAD_WORK, run_do_not_contact

NewUow = Callable[[], UnitOfWork]
COUNTS = (
    *("numbers_read", "invalid", "duplicates_in_file", "already_suppressed", "newly_suppressed"),
    *("contacts_matched", "texts_withdrawn", "texts_sent_lately"),
)


@dataclass
class Storage:
    data_dir: Path


@dataclass
class WorkerDeps:
    """The dependencies of a worker, as far as uploads use them."""

    new_uow: NewUow
    settings: Storage
    is_stopping: bool = False
    works_for_seconds: float = 30.0


@dataclass
class Uploader:
    """Helper that accepts files as the route does, and runs the job."""

    new_uow: NewUow
    folder: Path

    async def accept(self, content: str, *, column: str | None = None, **options: Any) -> UUID:
        upload_id = new_id()
        path = do_not_contact.upload_path(self.folder, upload_id)
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        async with self.new_uow() as uow:
            await do_not_contact.create_upload(
                uow,
                upload_id=upload_id,
                file_name="stop.csv",
                byte_size=path.stat().st_size,
                columns=phone_columns(path, column),
                options=UploadOptions(column=column, **options),
                actor="key",
                now=clock.now(),
            )
        return upload_id

    async def run(self) -> None:
        await run_do_not_contact({"deps": WorkerDeps(self.new_uow, Storage(self.folder))})

    async def get(self, upload_id: UUID) -> DoNotContactUpload:
        async with self.new_uow() as uow:
            return await runs.get_import(uow, DO_NOT_CONTACT_UPLOADS, import_id=upload_id)

    async def process_file(self, content: str, **options: Any) -> DoNotContactUpload:
        upload_id = await self.accept(content, **options)
        await self.run()
        return await self.get(upload_id)


@pytest.fixture
def uploader(new_uow: NewUow, tmp_path: Path) -> Uploader:
    return Uploader(new_uow, tmp_path)


def counts(row: DoNotContactUpload) -> dict[str, int]:
    return {name: getattr(row, name) for name in COUNTS if getattr(row, name)}


async def flags(session: AsyncSession) -> dict[str, str | None]:
    """Return the numbers with the flag ``do_not_contact``, and the reason of each flag."""
    rows = await session.scalars(
        select(ContactFlag)
        .where(ContactFlag.flag_type == "do_not_contact")
        .execution_options(populate_existing=True)
    )
    return {row.phone: row.reason for row in rows}


async def add_sent_attempt(session: AsyncSession, phone: str, at: datetime) -> None:
    line = await make_line(session, phone_number_id=f"PN{phone}")
    session.add(
        SendAttempt(
            line_id=line.id,
            activity_id=new_id(),
            phone=phone,
            body="Hi",
            status="delivered",
            accepted_at=at,
            created_at=at,
            updated_at=at,
        )
    )


async def test_numbers_in_any_format_are_flagged_with_the_reason(
    uploader: Uploader, session: AsyncSession
) -> None:
    row = await uploader.process_file(
        "Phone;Name\n(617) 555-0101;Ada\n+1 617.555.0102 x7;Leo\n6.175550103E+09;Nora\n"
        "617-555-0104 / 617-555-0105;Ruth\n",
        reason="state list of May",
    )

    assert await flags(session) == dict.fromkeys(
        (f"+1617555010{n}" for n in range(1, 6)), "state list of May"
    )
    assert (row.status, row.columns) == ("completed", ["Phone"])
    assert counts(row) == {"numbers_read": 5, "newly_suppressed": 5}
    assert not list(await session.scalars(select(Contact)))
    assert not list(await session.scalars(select(ConsentEntry)))


async def test_file_of_numbers_alone_needs_no_header(
    uploader: Uploader, session: AsyncSession
) -> None:
    row = await uploader.process_file("6175550101\n6175550102\n6175550101\n")

    assert set(await flags(session)) == {"+16175550101", "+16175550102"}
    assert counts(row) == {"numbers_read": 3, "newly_suppressed": 2, "duplicates_in_file": 1}


async def test_report_counts_the_effects(uploader: Uploader, session: AsyncSession) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line)
    waiting = await make_contact(session, phone="+16175550101")
    sent_to = await make_contact(session, phone="+16175550102")
    await make_contact(session, phone="+16175550103", deleted_at=NOW)
    recipient = await make_member(session, campaign=campaign, contact=waiting)
    done = await make_member(session, campaign=campaign, contact=sent_to, status="delivered")
    await add_sent_attempt(session, sent_to.phone, clock.now() - timedelta(days=29))
    await add_sent_attempt(session, waiting.phone, clock.now() - timedelta(days=31))
    for number, flag in (("4", "opted_out"), ("5", "do_not_contact"), ("6", "vip")):
        session.add(ContactFlag(phone=f"+1617555010{number}", flag_type=flag, created_at=NOW))
    await session.commit()

    row = await uploader.process_file(
        "phone\n" + "\n".join(f"617555010{n}" for n in range(1, 7)) + "\n"
    )

    assert counts(row) == {
        "numbers_read": 6,
        "already_suppressed": 2,
        "newly_suppressed": 4,
        "contacts_matched": 2,
        "texts_withdrawn": 1,
        "texts_sent_lately": 1,
    }
    for one in (recipient, done):
        await session.refresh(one)
    assert (recipient.status, recipient.skip_reason) == ("skipped", "do_not_contact")
    assert done.status == "delivered"


async def test_claimed_message_is_withdrawn_and_counted(
    uploader: Uploader, session: AsyncSession
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line)
    contact = await make_contact(session, phone="+16175550101")
    recipient = await make_member(session, campaign=campaign, contact=contact, status="sending")
    claimed = SendAttempt(
        membership_id=recipient.id,
        campaign_id=campaign.id,
        line_id=line.id,
        activity_id=new_id(),
        phone=contact.phone,
        body="Hi",
        status="claimed",
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(claimed)
    await session.commit()

    row = await uploader.process_file("phone\n6175550101\n")

    await session.refresh(claimed)
    await session.refresh(recipient)
    assert row.texts_withdrawn == 1
    assert (claimed.status, recipient.status) == ("released", "skipped")


async def test_dry_run_reports_the_same_counts_and_changes_nothing(
    uploader: Uploader, session: AsyncSession
) -> None:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line)
    contact = await make_contact(session, phone="+16175550101")
    recipient = await make_member(session, campaign=campaign, contact=contact)
    await session.commit()
    content = "phone\n6175550101\n6175550102\nx\n"

    dry = await uploader.process_file(content, dry_run=True)
    untouched = (
        await flags(session),
        (await session.get_one(CampaignMembership, recipient.id)).status,
    )
    real = await uploader.process_file(content)

    assert untouched == ({}, "pending")
    assert counts(dry) == counts(real)
    assert counts(dry)["texts_withdrawn"] == 1


async def test_flag_with_an_end_becomes_permanent(
    uploader: Uploader, session: AsyncSession
) -> None:
    for number, expires_at in (("1", NOW + timedelta(days=900)), ("2", None)):
        session.add(
            ContactFlag(
                phone=f"+1617555010{number}",
                flag_type="do_not_contact",
                reason="asked",
                expires_at=expires_at,
                created_at=NOW,
            )
        )
    await session.commit()

    await uploader.process_file("phone\n6175550101\n6175550102\n", reason="list")

    assert await flags(session) == {"+16175550101": "list", "+16175550102": "asked"}
    ends = await session.scalars(select(ContactFlag.expires_at))
    assert set(ends) == {None}


async def test_values_that_are_not_numbers_are_reported(
    uploader: Uploader, session: AsyncSession
) -> None:
    row = await uploader.process_file(
        "phone,note\n617-555-0101,\n555-0102,a\n+44 20 7946 0958,b\n,c\n"
    )

    errors = list(
        await session.scalars(select(DoNotContactUploadError).order_by(DoNotContactUploadError.id))
    )
    assert counts(row) == {"numbers_read": 3, "invalid": 2, "newly_suppressed": 1}
    assert [(one.line, one.column, one.value) for one in errors] == [
        (3, "phone", "555-0102"),
        (4, "phone", "+44 20 7946 0958"),
    ]
    assert "area code is missing" in errors[0].reason


async def test_upload_of_a_lost_worker_is_continued(
    uploader: Uploader, session: AsyncSession
) -> None:
    content = (
        "phone\n" + "".join(f"+1617555{n:04d}\n" for n in range(1_000, 3_500)) + "6175551000\n"
    )
    upload_id = await uploader.accept(content)
    async with uploader.new_uow() as uow:
        claimed = await runs.claim_import(uow.session, DO_NOT_CONTACT_UPLOADS, now=clock.now())
    assert claimed is not None
    path = do_not_contact.upload_path(uploader.folder, upload_id)
    source = NumberSource(path, claimed.columns)
    chunk = source.next_chunk()
    assert chunk is not None
    async with uploader.new_uow() as uow:
        await do_not_contact.apply_chunk(uow, upload_id=upload_id, chunk=chunk, now=clock.now())
    # Simulate that the worker stops here, and that its lease expires.
    await session.execute(update(DoNotContactUpload).values(lease_until=NOW))
    await session.commit()

    await uploader.run()

    row = await uploader.get(upload_id)
    assert (row.status, row.rows_processed) == ("completed", 2_501)
    assert counts(row) == {
        "numbers_read": 2_501,
        "newly_suppressed": 2_500,
        "duplicates_in_file": 1,
    }
    assert len(await flags(session)) == 2_500
    assert not path.exists()


async def test_chunk_is_written_once(uploader: Uploader) -> None:
    upload_id = await uploader.accept("phone\n6175550101\n")
    async with uploader.new_uow() as uow:
        claimed = await runs.claim_import(uow.session, DO_NOT_CONTACT_UPLOADS, now=clock.now())
    assert claimed is not None
    path = do_not_contact.upload_path(uploader.folder, upload_id)
    chunk = NumberSource(path, claimed.columns).next_chunk()
    assert chunk is not None

    written = []
    for _ in range(2):
        async with uploader.new_uow() as uow:
            written.append(
                await do_not_contact.apply_chunk(
                    uow, upload_id=upload_id, chunk=chunk, now=clock.now()
                )
            )

    assert written == [True, False]
    assert counts(await uploader.get(upload_id)) == {"numbers_read": 1, "newly_suppressed": 1}


async def test_run_at_its_time_limit_leaves_the_rest_to_the_next_run(uploader: Uploader) -> None:
    content = "phone\n" + "".join(f"+1617555{n:04d}\n" for n in range(1_000, 2_500))
    upload_id = await uploader.accept(content)
    async with uploader.new_uow() as uow:
        claimed = await runs.claim_import(uow.session, DO_NOT_CONTACT_UPLOADS, now=clock.now())
    assert claimed is not None
    path = do_not_contact.upload_path(uploader.folder, upload_id)

    await write_import(uploader.new_uow, UPLOAD_WORK, claimed, path=path, is_over=lambda: True)
    between = (await uploader.get(upload_id)).rows_processed
    await uploader.run()

    assert between == 1_000
    assert (await uploader.get(upload_id)).rows_processed == 1_500


async def test_upload_without_its_file_fails_with_a_reason(uploader: Uploader) -> None:
    upload_id = await uploader.accept("phone\n6175550101\n")
    do_not_contact.upload_path(uploader.folder, upload_id).unlink()

    await uploader.run()

    row = await uploader.get(upload_id)
    assert row.status == "failed"
    assert "data directory" in (row.error or "")


async def test_cancelled_upload_stops_and_a_finished_upload_cannot_be_cancelled(
    uploader: Uploader,
) -> None:
    waiting = await uploader.accept("phone\n6175550101\n")
    async with uploader.new_uow() as uow:
        await runs.cancel(uow, DO_NOT_CONTACT_UPLOADS, import_id=waiting, now=NOW)
    done = await uploader.process_file("phone\n6175550102\n")

    cancelled = await uploader.get(waiting)
    assert (cancelled.status, counts(cancelled)) == ("cancelled", {})
    async with uploader.new_uow() as uow:
        with pytest.raises(UploadFinishedError):
            await runs.cancel(uow, DO_NOT_CONTACT_UPLOADS, import_id=done.id, now=NOW)
        with pytest.raises(UploadNotFoundError):
            await runs.cancel(uow, DO_NOT_CONTACT_UPLOADS, import_id=new_id(), now=NOW)

"""Tests of the job that runs imports, in a real database."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW, SECRET
from tests.factories import make_campaign, make_contact, make_line, make_member

from crm_api.domain.consent.models import ConsentEntry, ConsentWording, ContactFlag
from crm_api.domain.consent.queries import CANONICAL_WORDING
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts import undo_request, write
from crm_api.domain.imports.contacts.models import (
    CONTACT_IMPORTS,
    ContactImport,
    ContactImportError,
)
from crm_api.domain.imports.contacts.schemas import ImportOptions
from crm_api.domain.imports.contacts.source import (
    ContactChunk,
    ImportSource,
    examine_file,
    sha256_of,
)
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.chunk_reader import OpenReaders
from crm_api.domain.messaging.consent_decisions import erased_numbers
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.lists import ContactList, ContactListMember
from crm_api.platform import clock, failpoints
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.workers.import_runs import write_import
from crm_api.workers.imports import contact_work, run_imports

NewUow = Callable[[], UnitOfWork]
MESSY = (
    "\ufeffphone,first_name,last_name,email,city,state,notes\r\n"
    "617-555-0101 x204,  Zoë ,ROSSI,zoe@example.com,Quincy,MA,café ☕\r\n"
    "(617) 555-0102,Leo,Kim,not-an-email,Boston,MA,"
    '"line one\nline two"\r\n'
    "+44 20 7946 0958,Olga,Garcia,,,,\r\n"
    ",Nora,Chen,,,,\r\n"
    "call after 5,Omar,Patel,,,,\r\n"
    "6175550101,Eva,Silva,,,,\r\n"
    "1-617-555-0103,Ivan\r\n"
    '617.555.0104,Ruth,Cohen,,,,"=HYPERLINK(""http://x.invalid"")"\r\n'
    "555-0123,Wei,Smith,,,,\r\n"
).encode()


@dataclass
class Storage:
    data_dir: Path


@dataclass
class WorkerDeps:
    """The dependencies of a worker, as far as imports use them."""

    new_uow: NewUow
    settings: Storage
    is_stopping: bool = False
    works_for_seconds: float = 30.0
    secret: bytes = SECRET.encode()
    import_readings: OpenReaders[ContactChunk] = field(default_factory=OpenReaders)


@dataclass
class Importer:
    """Helper that accepts files as the route does, and runs the job."""

    new_uow: NewUow
    folder: Path

    async def accept(self, content: bytes | str, **options: Any) -> UUID:
        import_id = new_id()
        path = contact_imports.upload_path(self.folder, import_id)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        mapping = options.pop("mapping", None)
        async with self.new_uow() as uow:
            await contact_imports.create_import(
                uow,
                import_id=import_id,
                file_name="people.csv",
                byte_size=path.stat().st_size,
                rows_sha256=sha256_of(path),
                detected=examine_file(path, mapping),
                options=ImportOptions(**options),
                now=clock.now(),
            )
        return import_id

    async def run(self) -> None:
        await run_imports({"deps": WorkerDeps(self.new_uow, Storage(self.folder))})

    async def get(self, import_id: UUID) -> ContactImport:
        async with self.new_uow() as uow:
            return await runs.get_import(uow, CONTACT_IMPORTS, import_id=import_id)

    async def import_file(self, content: bytes | str, **options: Any) -> ContactImport:
        import_id = await self.accept(content, **options)
        await self.run()
        return await self.get(import_id)

    async def undo(self, import_id: UUID) -> ContactImport:
        async with self.new_uow() as uow:
            await undo_request.request_undo(uow, import_id=import_id, now=clock.now())
        await self.run()
        return await self.get(import_id)


@pytest.fixture
def importer(new_uow: NewUow, tmp_path: Path) -> Importer:
    return Importer(new_uow, tmp_path)


@pytest.fixture
def _moved_time() -> Iterator[None]:
    clock.move(timedelta(days=45))
    yield
    clock.move(timedelta(0))


@pytest.mark.usefixtures("_moved_time")
async def test_imports_work_in_moved_time(importer: Importer) -> None:
    imported = await importer.import_file(people(2))

    assert (imported.status, imported.error, imported.created) == ("completed", None, 2)


async def test_unreadable_state_gives_a_known_contact_the_strictest_hours(
    importer: Importer, session: AsyncSession
) -> None:
    await importer.import_file("phone,first_name\n2125550101,Ada\n2125550102,Leo\n")

    row = await importer.import_file("phone,state\n2125550101,ZZ\n2125550102,Mass.\n")

    found = await contacts(session)
    assert [one.zone_key[:6] for one in found] == ["?/Amer", "MA,NY/"]
    assert (row.updated, row.invalid) == (2, 0)
    reported = (await session.scalars(select(ContactImportError))).all()
    assert [(one.line, one.value, one.code) for one in reported] == [(2, "ZZ", "unknown_state")]
    await importer.import_file("phone,state\n2125550101,NY\n")
    assert (await contacts(session))[0].zone_key == "NY/America/New_York"


OPT_OUTS = (
    "phone,first_name,Opted Out,DNC\n"
    "6175550101,Ada,yes,\n"
    "6175550102,Leo,no,x\n"
    "6175550103,Eva,maybe,\n"
    "6175550104,Ivan,no,0\n"
    "6175550104,Ivan,2026-01-05,\n"
)


async def flags(session: AsyncSession) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for flag in await session.scalars(select(ContactFlag)):
        found.setdefault(flag.phone[-3:], set()).add(flag.flag_type)
    return found


async def entries(session: AsyncSession) -> list[tuple[str, str, str, Any]]:
    rows = await session.execute(
        select(
            ConsentWording.phone, ConsentEntry.action, ConsentEntry.source, ConsentWording.evidence
        )
        .join(ConsentEntry, ConsentEntry.id == ConsentWording.entry_id)
        .order_by(ConsentEntry.id)
    )
    return [
        (phone[-3:], action, source, evidence["column"]) for phone, action, source, evidence in rows
    ]


async def test_opt_out_columns_set_flags_and_write_consent_entries(
    importer: Importer, session: AsyncSession
) -> None:
    row = await importer.import_file(OPT_OUTS)

    assert await flags(session) == {
        "101": {"opted_out"},
        "102": {"opted_out", "do_not_contact"},
        "103": {"opt_out_hold"},
        "104": {"opted_out"},
    }
    assert await entries(session) == [
        ("101", "opt_out", "import", "Opted Out"),
        ("102", "opt_out", "import", "DNC"),
        ("103", "hold", "import", "Opted Out"),
        ("104", "opt_out", "import", "Opted Out"),
    ]
    digests = await session.scalars(
        text(
            "SELECT e.wording_digest = sha256(w.salt || convert_to("
            f"{CANONICAL_WORDING}, 'UTF8')) FROM consent_entry e "
            "JOIN consent_wording w ON w.entry_id = e.id JOIN consent_unlinked u USING (entry_id)"
        )
    )
    assert list(digests) == [True] * 4
    assert row.created == 4
    assert {name: one["filled"] for name, one in row.changes.items()} == {
        "consent.opted_out": 3,
        "consent.do_not_contact": 1,
        "consent.opt_out_hold": 1,
    }
    reported = (await session.scalars(select(ContactImportError))).all()
    assert [(one.line, one.value, one.code) for one in reported] == [
        (4, "maybe", "unclear_opt_out")
    ]


async def test_dry_run_counts_opt_outs_and_a_second_import_adds_none(
    importer: Importer, session: AsyncSession
) -> None:
    dry = await importer.import_file(OPT_OUTS, dry_run=True)
    assert await flags(session) == {}
    first = await importer.import_file(OPT_OUTS)
    again = await importer.import_file(OPT_OUTS)

    assert dry.changes == first.changes
    assert again.changes == {}
    assert len(await entries(session)) == 4


async def test_import_removes_no_opt_out(importer: Importer, session: AsyncSession) -> None:
    await importer.import_file("phone,Opted Out\n6175550101,yes\n")
    await importer.import_file("phone,Opted Out\n6175550101,no\n", on_duplicate="overwrite")

    assert await flags(session) == {"101": {"opted_out"}}


async def test_import_of_do_not_contact_skips_a_waiting_recipient(
    importer: Importer, session: AsyncSession
) -> None:
    contact = await make_contact(session, phone="+16175550101")
    campaign = await make_campaign(session, line=await make_line(session))
    recipient = await make_member(session, campaign=campaign, contact=contact)

    await importer.import_file("phone,Do Not Contact\n6175550101,yes\n")

    await session.refresh(recipient)
    assert (recipient.status, recipient.skip_reason) == ("skipped", "do_not_contact")


async def test_undo_removes_the_contact_and_keeps_the_opt_out(
    importer: Importer, session: AsyncSession
) -> None:
    row = await importer.import_file("phone,Opted Out\n6175550101,yes\n")
    undone = await importer.undo(row.id)

    assert undone.undo_counts["removed"] == 1
    assert await flags(session) == {"101": {"opted_out"}}
    assert len(await entries(session)) == 1


async def test_undo_gives_each_removed_contact_the_zones_of_its_own_number(
    importer: Importer, session: AsyncSession
) -> None:
    row = await importer.import_file("phone,state\n6175550101,CA\n3125550102,CA\n2125550103,\n")
    undone = await importer.undo(row.id)

    assert undone.undo_counts["removed"] == 3
    assert {one.phone[2:5]: one.zone_key for one in await contacts(session)} == {
        "617": "MA/America/New_York",
        "312": "IL/America/Chicago",
        "212": "NY/America/New_York",
    }


async def test_opt_out_of_a_merged_contact_applies_to_all_its_numbers(
    importer: Importer, session: AsyncSession
) -> None:
    primary = await make_contact(session, phone="+16175550101")
    await make_contact(
        session, phone="+16175550102", merged_into=primary.id, deleted_at=NOW, first_name=None
    )

    await importer.import_file("phone,Opted Out\n6175550102,yes\n")

    assert await flags(session) == {"101": {"opted_out"}, "102": {"opted_out"}}


def people(count: int, *, start: int = 0) -> str:
    rows = (f"+1617555{at:04d},Person{at},Quincy,MA" for at in range(start, start + count))
    return "phone,first_name,city,state\n" + "\n".join(rows) + "\n"


def counts(row: ContactImport) -> dict[str, int]:
    names = ("created", "updated", "unchanged", "duplicates_in_file", "invalid")
    return {name: getattr(row, name) for name in names if getattr(row, name)}


async def contacts(session: AsyncSession) -> list[Contact]:
    statement = select(Contact).order_by(Contact.phone)
    return list(await session.scalars(statement.execution_options(populate_existing=True)))


async def faults(session: AsyncSession) -> list[tuple[int, str | None, str]]:
    rows = await session.scalars(select(ContactImportError).order_by(ContactImportError.id))
    return [(row.line, row.column, row.code) for row in rows]


async def test_number_of_an_erased_person_is_imported_as_do_not_contact(
    importer: Importer, session: AsyncSession
) -> None:
    async with importer.new_uow() as uow:
        await erased_numbers.erase_consent_of(
            uow, phones=["+16175550001"], now=NOW, secret=SECRET.encode()
        )

    row = await importer.import_file(people(3))

    flags = await session.scalars(select(ContactFlag))
    assert counts(row) == {"created": 3}
    assert [(flag.phone, flag.flag_type) for flag in flags] == [("+16175550001", "do_not_contact")]


async def test_messy_file_is_imported_row_by_row(importer: Importer, session: AsyncSession) -> None:
    row = await importer.import_file(MESSY)

    assert (row.status, row.error, row.detected_format) == ("completed", None, "standard")
    assert (row.rows_total, row.rows_processed) == (9, 9)
    assert counts(row) == {"created": 4, "duplicates_in_file": 1, "invalid": 4}
    assert await faults(session) == [
        (3, "email", "invalid_email"),
        (5, "phone", "invalid_phone"),
        (6, "phone", "no_phone"),
        (7, "phone", "invalid_phone"),
        (11, "phone", "invalid_phone"),
    ]
    found = await contacts(session)
    assert [(one.first_name, one.last_name) for one in found] == [
        ("Zoë", "Rossi"),
        ("Leo", "Kim"),
        ("Ivan", None),
        ("Ruth", "Cohen"),
    ]
    assert found[0].attributes == {"notes": "café ☕", "phone_extension": "204"}
    assert found[0].zone_key == "MA/America/New_York"
    assert found[1].email is None
    assert found[3].attributes["notes"] == '=HYPERLINK("http://x.invalid")'
    assert {one.source for one in found} == {"import"}


async def test_second_import_of_a_file_changes_nothing(
    importer: Importer, session: AsyncSession
) -> None:
    await importer.import_file(MESSY)
    before = [(one.id, one.updated_at) for one in await contacts(session)]

    row = await importer.import_file(MESSY)

    assert counts(row) == {"unchanged": 4, "duplicates_in_file": 1, "invalid": 4}
    assert [(one.id, one.updated_at) for one in await contacts(session)] == before


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
async def test_files_in_other_encodings_are_imported(
    importer: Importer, session: AsyncSession, encoding: str
) -> None:
    await importer.import_file("phone,first_name\n6175550101,Zoë\n".encode(encoding))

    assert [one.first_name for one in await contacts(session)] == ["Zoë"]


async def test_known_contact_is_filled_overwritten_or_skipped(
    importer: Importer, session: AsyncSession
) -> None:
    await importer.import_file("phone,first_name,tags\n6175550101,Ada,vip\n")
    new = "phone,first_name,last_name,tags\n6175550101,Eva,Rossi,spring\n"

    skipped = await importer.import_file(new, on_duplicate="skip")
    assert (counts(skipped), (await contacts(session))[0].last_name) == ({"unchanged": 1}, None)

    filled = await importer.import_file(new)
    (found,) = await contacts(session)
    assert (counts(filled), found.first_name, found.last_name) == ({"updated": 1}, "Ada", "Rossi")
    assert found.tags == ["vip", "spring"]

    overwritten = await importer.import_file(new, on_duplicate="overwrite")
    assert (counts(overwritten), (await contacts(session))[0].first_name) == ({"updated": 1}, "Eva")


async def test_import_restores_a_deleted_contact_as_created(
    importer: Importer, session: AsyncSession
) -> None:
    await importer.import_file("phone,first_name,notes\n6175550101,Ada,old\n")
    (before,) = await contacts(session)
    await session.execute(update(Contact).values(deleted_at=NOW, first_name=None))
    await session.commit()

    row = await importer.import_file("phone,last_name\n6175550101,Rossi\n", on_duplicate="skip")

    (after,) = await contacts(session)
    assert counts(row) == {"created": 1}
    assert (after.id, after.deleted_at, after.last_name) == (before.id, None, "Rossi")
    assert after.attributes == {}


@pytest.mark.parametrize("on_duplicate", ["fill", "overwrite", "skip"])
async def test_numbers_of_merged_contacts_update_the_remaining_contact(
    importer: Importer, session: AsyncSession, on_duplicate: str
) -> None:
    await importer.import_file(people(3, start=101))
    primary, *others = await contacts(session)
    await session.execute(
        update(Contact)
        .where(Contact.id.in_([one.id for one in others]))
        .values(merged_into=primary.id, deleted_at=NOW, first_name=None, city=None)
    )
    await session.commit()

    row = await importer.import_file(
        "phone,last_name\n6175550102,Rossi\n6175550103,Verdi\n",
        on_duplicate=on_duplicate,
        list_name="Owners",
    )

    found, *aliases = await contacts(session)
    on_list = (await session.scalars(select(ContactListMember.contact_id))).all()
    is_skip = on_duplicate == "skip"
    assert counts(row) == ({"unchanged": 2} if is_skip else {"updated": 1, "unchanged": 1})
    assert (found.id, found.last_name) == (primary.id, None if is_skip else "Rossi")
    assert found.zone_key == primary.zone_key
    assert {one.merged_into for one in aliases} == {primary.id}
    assert {one.deleted_at is None for one in aliases} == {False}
    assert list(on_list) == [primary.id]


async def test_opt_out_survives_an_import(importer: Importer, session: AsyncSession) -> None:
    session.add(ContactFlag(phone="+16175550101", flag_type="opted_out", created_at=NOW))
    await session.commit()

    await importer.import_file(people(2, start=101), on_duplicate="overwrite")

    flags = await session.execute(select(ContactFlag.phone, ContactFlag.flag_type))
    assert flags.all() == [("+16175550101", "opted_out")]


async def test_every_person_of_the_file_is_added_to_the_list(
    importer: Importer, session: AsyncSession
) -> None:
    await importer.import_file(people(2))

    row = await importer.import_file(people(3), list_name="Quincy")
    again = await importer.import_file(people(3), list_name="Quincy")

    assert row.list_id == again.list_id is not None
    on_list = await session.scalars(select(ContactListMember.list_id))
    assert list(on_list) == [row.list_id] * 3
    assert list(await session.scalars(select(ContactList.name))) == ["Quincy"]


async def test_list_that_is_deleted_meanwhile_fails_the_import(
    importer: Importer, session: AsyncSession
) -> None:
    import_id = await importer.accept(people(2), list_name="Quincy")
    await session.execute(text("DELETE FROM contact_list"))
    await session.commit()

    await importer.run()

    row = await importer.get(import_id)
    assert (row.status, row.error) == (
        "failed",
        "The list was deleted while the import ran. Start an import into another list.",
    )


async def test_dry_run_counts_and_changes_nothing(
    importer: Importer, session: AsyncSession
) -> None:
    await importer.import_file(people(1))

    row = await importer.import_file(
        people(3) + "+16175550002,again\n", dry_run=True, list_name="New"
    )

    assert counts(row) == {"created": 2, "unchanged": 1, "duplicates_in_file": 1}
    assert len(await contacts(session)) == 1
    assert list(await session.scalars(select(ContactList.name))) == []


async def test_property_file_creates_two_contacts_per_row(
    importer: Importer, session: AsyncSession
) -> None:
    header = (
        "Type,Address,City,ZIP,APN,Mail Address,Mail City,Mail State,Mail ZIP,Primary Name,"
        "Primary Mobile Phone1,Primary Email1,Secondary Name,Secondary Mobile Phone1\n"
    )
    rows = (
        "SFR,1 Sea St,Quincy,02169,1,1 Sea St,Quincy,MA,02169,Ada Rossi,617-555-0101,,"
        "Leo Rossi,617-555-0102\n"
        "SFR,2 Sea St,Quincy,02169,2,2 Sea St,Quincy,MA,02169,Eva Kim,617-555-0103,,Omar Kim,\n"
        "SFR,3 Sea St,Quincy,02169,3,3 Sea St,Quincy,MA,02169,Nora Chen,,,,\n"
    )

    row = await importer.import_file(header + rows)

    assert row.detected_format == "propertyradar"
    assert (counts(row), row.rows_processed) == ({"created": 3}, 3)
    found = await contacts(session)
    assert [one.first_name for one in found] == ["Ada", "Leo", "Eva"]
    assert found[1].attributes["property_address"] == "1 Sea St"


@pytest.mark.parametrize("status", ["pending", "review", "held", "sending", "unknown"])
async def test_waiting_recipients_get_the_zone_of_an_imported_address(
    importer: Importer, session: AsyncSession, status: str
) -> None:
    contact = await make_contact(session)
    other = await make_contact(session, phone="+16175550124")
    campaign = await make_campaign(session, line=await make_line(session))
    recipient = await make_member(session, campaign=campaign, contact=contact, status=status)
    neighbour = await make_member(session, campaign=campaign, contact=other)
    done = await make_campaign(session, line=await make_line(session, phone_number_id="PN2"))
    sent = await make_member(session, campaign=done, contact=contact, status="sent")
    await session.commit()

    await importer.import_file(f"phone,state,postal_code\n{contact.phone},CA,90001\n")

    for row in (campaign, recipient, neighbour, done, sent):
        await session.refresh(row)
    moved = "CA,MA/America/Los_Angeles,America/New_York"
    assert (recipient.zone_key, recipient.status) == (moved, status)
    assert set(campaign.zone_keys) == {"MA/America/New_York", moved}
    assert {neighbour.zone_key, sent.zone_key} == {"MA/America/New_York"}
    assert done.zone_keys == ["MA/America/New_York"]


async def test_import_of_a_lost_worker_is_resumed_with_the_same_result(
    importer: Importer, session: AsyncSession, tmp_path: Path
) -> None:
    repeated = people(30) + "+16175550003,again,,\n" + "nonsense,x,,\n" + people(10, start=30)[28:]
    import_id = await importer.accept(repeated, list_name="Quincy")
    path = contact_imports.upload_path(tmp_path, import_id)
    async with importer.new_uow() as uow:
        claimed = await runs.claim_import(uow.session, CONTACT_IMPORTS, now=clock.now())
    assert claimed is not None
    source = ImportSource(path, claimed.mapping)
    for _ in range(2):
        chunk = source.next_chunk(limit=10)
        assert chunk is not None
        async with importer.new_uow() as uow:
            await write.apply_chunk(
                uow, import_id=import_id, chunk=chunk, now=clock.now(), secret=SECRET.encode()
            )
    # Simulate that the worker stops here: it has read a chunk without writing it, and its lease
    # has not expired.
    lost = source.next_chunk(limit=10)
    assert lost is not None
    await importer.run()
    assert (await importer.get(import_id)).rows_processed == 20
    lease = {"now": clock.now() - timedelta(seconds=1)}
    await session.execute(text("UPDATE contact_import SET lease_until = :now"), lease)
    await session.commit()

    await importer.run()

    row = await importer.get(import_id)
    assert (row.status, row.rows_processed) == ("completed", 42)
    assert counts(row) == {"created": 40, "duplicates_in_file": 1, "invalid": 1}
    assert len(await contacts(session)) == 40
    assert not path.exists()
    # If the first worker continues and writes its chunk again, nothing changes.
    async with importer.new_uow() as uow:
        assert not await write.apply_chunk(
            uow, import_id=import_id, chunk=lost, now=clock.now(), secret=SECRET.encode()
        )


async def test_restart_of_the_database_does_not_fail_the_import(importer: Importer) -> None:
    """Prove that an import is not failed by an error of the database driver.

    During a restart, a new connection raises an error of the driver, not of SQLAlchemy.
    """

    async def refuse(step: str) -> None:
        if step == "import.open":
            raise asyncpg.CannotConnectNowError("the database system is starting up")

    import_id = await importer.accept(people(3))
    failpoints.set_hook(refuse)
    try:
        with pytest.raises(asyncpg.CannotConnectNowError):
            await importer.run()
    finally:
        failpoints.set_hook(None)

    assert (await importer.get(import_id)).status == "running"


async def test_chunk_that_another_worker_has_written_is_refused(
    importer: Importer, tmp_path: Path
) -> None:
    import_id = await importer.accept(people(20))
    async with importer.new_uow() as uow:
        claimed = await runs.claim_import(uow.session, CONTACT_IMPORTS, now=clock.now())
    assert claimed is not None
    path = contact_imports.upload_path(tmp_path, import_id)
    first, second = (ImportSource(path, claimed.mapping) for _ in range(2))
    outcomes = []

    for source in (first, second):
        chunk = source.next_chunk(limit=10)
        assert chunk is not None
        async with importer.new_uow() as uow:
            outcomes.append(
                await write.apply_chunk(
                    uow, import_id=import_id, chunk=chunk, now=clock.now(), secret=SECRET.encode()
                )
            )

    assert outcomes == [True, False]
    assert (await importer.get(import_id)).created == 10


async def test_run_at_its_time_limit_lets_the_next_run_continue(
    importer: Importer, tmp_path: Path
) -> None:
    import_id = await importer.accept(people(7_500))
    async with importer.new_uow() as uow:
        claimed = await runs.claim_import(uow.session, CONTACT_IMPORTS, now=clock.now())
    assert claimed is not None
    path = contact_imports.upload_path(tmp_path, import_id)

    await write_import(
        importer.new_uow,
        contact_work(importer.new_uow, secret=SECRET.encode()),
        claimed,
        path=path,
        is_over=lambda: True,
    )
    row = await importer.get(import_id)
    assert (row.status, row.rows_total, row.rows_processed) == ("running", 7_500, 5_000)

    await importer.run()
    row = await importer.get(import_id)
    assert (row.status, row.created) == ("completed", 7_500)


async def test_file_stays_open_for_the_next_run(importer: Importer, tmp_path: Path) -> None:
    import_id = await importer.accept(people(7_500))
    async with importer.new_uow() as uow:
        claimed = await runs.claim_import(uow.session, CONTACT_IMPORTS, now=clock.now())
    assert claimed is not None
    path = contact_imports.upload_path(tmp_path, import_id)
    deps = WorkerDeps(importer.new_uow, Storage(tmp_path))
    kept = deps.import_readings

    await write_import(
        importer.new_uow,
        contact_work(importer.new_uow, secret=deps.secret),
        claimed,
        path=path,
        is_over=lambda: True,
        readings=kept,
    )
    assert [reading.position for reading in kept.by_import.values()] == [5_000]
    await run_imports({"deps": deps})

    assert ((await importer.get(import_id)).created, kept.by_import) == (7_500, {})


async def test_stopping_worker_claims_nothing_more(importer: Importer, tmp_path: Path) -> None:
    import_id = await importer.accept(people(3))
    deps = WorkerDeps(importer.new_uow, Storage(tmp_path), is_stopping=True)

    await run_imports({"deps": deps})

    assert (await importer.get(import_id)).status == "pending"


async def test_cancelled_import_stops_and_keeps_the_written_rows(
    importer: Importer, session: AsyncSession, tmp_path: Path
) -> None:
    import_id = await importer.accept(people(7_500))
    async with importer.new_uow() as uow:
        claimed = await runs.claim_import(uow.session, CONTACT_IMPORTS, now=clock.now())
    assert claimed is not None
    path = contact_imports.upload_path(tmp_path, import_id)
    await write_import(
        importer.new_uow,
        contact_work(importer.new_uow, secret=SECRET.encode()),
        claimed,
        path=path,
        is_over=lambda: True,
    )

    async with importer.new_uow() as uow:
        await runs.cancel(uow, CONTACT_IMPORTS, import_id=import_id, now=clock.now())
    await importer.run()

    row = await importer.get(import_id)
    assert (row.status, row.created) == ("cancelled", 5_000)
    assert row.finished_at is not None
    assert len(await contacts(session)) == 5_000


async def test_file_with_binary_content_at_its_end_fails_with_a_reason(importer: Importer) -> None:
    row = await importer.import_file(people(9_000).encode() + b"\0\0\0\n")

    assert row.status == "failed"
    assert "binary" in str(row.error)


async def test_import_without_its_file_fails_with_a_reason(
    importer: Importer, tmp_path: Path
) -> None:
    import_id = await importer.accept(people(3))
    contact_imports.upload_path(tmp_path, import_id).unlink()

    await importer.run()

    row = await importer.get(import_id)
    assert (row.status, row.rows_processed) == ("failed", 0)
    assert "data directory" in str(row.error)


async def test_parallel_imports_of_one_file_create_each_contact_once(
    committed_uow: NewUow, committed_db: AsyncEngine, tmp_path: Path
) -> None:
    importer = Importer(committed_uow, tmp_path)
    ids = [await importer.accept(people(2_500), list_name="Quincy") for _ in range(2)]

    await asyncio.gather(importer.run(), importer.run())

    rows = [await importer.get(import_id) for import_id in ids]
    assert [row.status for row in rows] == ["completed", "completed"]
    assert sum(row.created for row in rows) == 2_500
    assert sum(row.unchanged for row in rows) == 2_500
    async with committed_db.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM contact")) == 2_500
        assert await connection.scalar(text("SELECT count(*) FROM contact_list_member")) == 2_500

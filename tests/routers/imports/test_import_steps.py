"""Tests of the routes for dry run, commit and undo of an import."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_line, make_member
from tests.workers.imports.test_imports import Storage, WorkerDeps

from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts import undo, write
from crm_api.domain.imports.contacts.chunk_reader import THREAD_BYTES
from crm_api.domain.imports.contacts.source import CHUNK_ROWS
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings
from crm_api.workers.imports import run_imports

NewUow = Callable[[], UnitOfWork]
URL = "/v1/imports"
KNOWN = {
    "phone": "+16175550101",
    "first_name": "Ada",
    "address": {"city": "Quincy"},
    "attributes": {"roof": "slate"},
}
FILE = (
    "phone,first_name,last_name,city,roof,beds,tags\n"
    "617-555-0101,Eva,Rossi,Quincy,tin,3,spring\n"
    "617-555-0102,Leo,Kim,Boston,,,\n"
    "12345,Nora,Chen,,,,\n"
)


@pytest.fixture(autouse=True)
def no_parallel_cleaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the clean-up beside an import, because these tests share one database connection."""
    monkeypatch.setattr(write, "MANY_PEOPLE", 100_000)


class Importer:
    """Helper that calls the import routes, and runs the import job only when a test requests it."""

    def __init__(self, client: httpx.AsyncClient, new_uow: NewUow, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        self._new_uow = new_uow
        self.deps: Any = WorkerDeps(new_uow, Storage(settings.data_dir))

    async def work(self) -> None:
        await run_imports({"deps": self.deps})

    async def upload(self, content: str = FILE, **fields: str) -> dict[str, Any]:
        files = {"file": ("people.csv", content.encode(), "text/csv")}
        answer = await self.client.post(URL, files=files, data=fields)
        assert answer.status_code == 202, answer.text
        return await self.finish(answer.json()["id"])

    async def finish(self, import_id: str) -> dict[str, Any]:
        await self.work()
        body: dict[str, Any] = (await self.client.get(f"{URL}/{import_id}")).json()
        return body

    async def post(self, import_id: str, step: str) -> httpx.Response:
        return await self.client.post(f"{URL}/{import_id}/{step}")

    async def commit(self, import_id: str) -> dict[str, Any]:
        answer = await self.post(import_id, "commit")
        assert answer.status_code == 202, answer.text
        return await self.finish(answer.json()["id"])

    async def undo(self, import_id: str) -> dict[str, Any]:
        answer = await self.post(import_id, "undo")
        assert answer.status_code == 202, answer.text
        assert answer.json()["undo"]["status"] == "pending"
        return await self.finish(import_id)

    async def contacts(self) -> dict[str, dict[str, Any]]:
        found = (await self.client.get("/v1/contacts")).json()["data"]
        return {contact["phone"]: contact for contact in found}

    async def phones_on_list(self, list_id: str) -> list[str]:
        found = (await self.client.get(f"/v1/lists/{list_id}/contacts")).json()["data"]
        return sorted(contact["phone"] for contact in found)


@pytest.fixture
def importer(client: httpx.AsyncClient, new_uow: NewUow, settings: Settings) -> Importer:
    return Importer(client, new_uow, settings)


def undo_counts(body: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in body["undo"].items() if name != "status" and count}


async def test_lines_with_a_repeated_number_are_named(importer: Importer) -> None:
    rows = ["phone,name", "6175550101,Ada", "6175550102,Leo", '"617-555-0101","Ada\nRossi"']
    many = [f"(617) 555-{at % 120:04d},Ivan" for at in range(240)]
    file = "\n".join([*rows, "1 617 555 0102,Leo", *many])

    dry = await importer.upload(file, dry_run="true")
    made = await importer.commit(dry["id"])

    assert dry["duplicates_in_file"] == 124
    assert dry["repeated_lines"][:3] == [
        {"line": 4, "first_line": 2},
        {"line": 6, "first_line": 3},
        {"line": 108, "first_line": 2},
    ]
    assert len(dry["repeated_lines"]) == 100
    assert made["repeated_lines"] == dry["repeated_lines"]


async def test_repeated_lines_of_several_chunks_have_one_limit(importer: Importer) -> None:
    first = [f"617555{at:04d}" for at in range(CHUNK_ROWS - 80)]
    rows = [*first[:80], *first, *first[:80]]

    dry = await importer.upload("\n".join(["phone", *rows]), dry_run="true")

    assert dry["duplicates_in_file"] == 160
    assert len(dry["repeated_lines"]) == 100
    assert dry["repeated_lines"][-1] == {"line": CHUNK_ROWS + 21, "first_line": 21}


async def test_dry_run_shows_the_changes_of_the_commit(importer: Importer) -> None:
    await importer.client.post("/v1/contacts", json=KNOWN)

    dry = await importer.upload(dry_run="true", on_duplicate="overwrite")

    assert (dry["status"], dry["dry_run"]) == ("completed", True)
    assert (dry["created"], dry["updated"], dry["invalid"]) == (1, 1, 1)
    assert dry["changes"] == {
        "first_name": {"filled": 0, "overwritten": 1},
        "last_name": {"filled": 1, "overwritten": 0},
        "tags": {"filled": 1, "overwritten": 0},
        "attributes.beds": {"filled": 1, "overwritten": 0},
        "attributes.roof": {"filled": 0, "overwritten": 1},
    }
    changed, new = dry["sample"]
    assert (changed["outcome"], changed["line"], changed["phone"]) == (
        "updated",
        2,
        "+16175550101",
    )
    assert changed["changes"] == {
        "first_name": {"before": "Ada", "after": "Eva"},
        "last_name": {"before": None, "after": "Rossi"},
        "tags": {"before": None, "after": ["spring"]},
        "attributes.beds": {"before": None, "after": "3"},
        "attributes.roof": {"before": "slate", "after": "tin"},
    }
    assert (new["outcome"], new["contact_id"]) == ("created", None)
    assert new["changes"]["first_name"] == {"before": None, "after": "Leo"}
    assert len(await importer.contacts()) == 1

    done = await importer.commit(dry["id"])

    counts = ("created", "updated", "unchanged", "duplicates_in_file", "invalid", "changes")
    assert {name: done[name] for name in counts} == {name: dry[name] for name in counts}
    assert (done["dry_run"], done["dry_run_id"], done["changed_since_dry_run"]) == (
        False,
        dry["id"],
        0,
    )
    known = (await importer.contacts())["+16175550101"]
    assert (known["first_name"], known["attributes"]) == ("Eva", {"roof": "tin", "beds": "3"})


async def test_columns_are_shown_with_their_confidence(importer: Importer) -> None:
    content = "Cell,Contact,E-Mail,Zip,Roof\n" + "617-555-0101,Ada Rossi,n/a,02169,slate\n" * 3

    dry = await importer.upload(content, dry_run="true", mapping='{"Roof": null}')

    detected = {c["column"]: (c["field"], c["told_by"], c["confidence"]) for c in dry["columns"]}
    assert detected == {
        "Cell": ("phone", "name", "high"),
        "Contact": ("name", "name", "high"),
        "E-Mail": ("email", "name", "low"),
        "Zip": ("postal_code", "name", "high"),
        "Roof": (None, "user", "high"),
    }
    assert dry["columns"][2]["fits"] == 0
    assert dry["columns"][2]["examples"] == ["n/a", "n/a"]


async def test_commit_counts_contacts_that_changed_since_the_dry_run(importer: Importer) -> None:
    dry = await importer.upload(dry_run="true")
    await importer.client.post("/v1/contacts", json=KNOWN)

    done = await importer.commit(dry["id"])

    assert (dry["created"], done["created"], done["updated"]) == (2, 1, 1)
    assert done["changed_since_dry_run"] == 1


async def test_commit_makes_the_list_that_the_dry_run_named(importer: Importer) -> None:
    dry = await importer.upload(dry_run="true", list_name="Quincy")
    assert (dry["list_id"], dry["list_name"]) == (None, "Quincy")

    done = await importer.commit(dry["id"])

    assert await importer.phones_on_list(done["list_id"]) == ["+16175550101", "+16175550102"]


async def test_second_commit_returns_the_first_import(importer: Importer) -> None:
    dry = await importer.upload(dry_run="true")
    first = (await importer.post(dry["id"], "commit")).json()

    waiting = await importer.post(dry["id"], "commit")
    await importer.work()
    completed = await importer.post(dry["id"], "commit")

    assert [waiting.json()["id"], completed.json()["id"]] == [first["id"]] * 2
    assert len((await importer.client.get(URL)).json()["data"]) == 2


async def test_commit_waits_for_the_dry_run(importer: Importer) -> None:
    files = {"file": ("people.csv", FILE.encode(), "text/csv")}
    dry = (await importer.client.post(URL, files=files, data={"dry_run": "true"})).json()

    answer = await importer.post(dry["id"], "commit")

    assert (answer.status_code, answer.json()["code"]) == (409, "dry_run_not_ready")


async def test_only_a_dry_run_is_committed(importer: Importer) -> None:
    done = await importer.upload()

    answer = await importer.post(done["id"], "commit")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_a_dry_run")
    assert (await importer.post(str(uuid4()), "commit")).status_code == 404


async def test_commit_of_a_file_that_differs_from_the_dry_run_fails(importer: Importer) -> None:
    dry = await importer.upload(dry_run="true")
    path = contact_imports.upload_path(importer.settings.data_dir, dry["id"])
    path.write_text(FILE.replace("Leo", "Mallory"))

    done = await importer.commit(dry["id"])

    assert (done["status"], done["rows_processed"]) == ("failed", 0)
    assert "differs from the file of the dry run" in done["error"]
    assert await importer.contacts() == {}
    path.unlink()
    again = await importer.commit(dry["id"])
    assert (again["status"], again["id"] != done["id"]) == ("failed", True)


async def test_deleted_list_stops_the_commit(importer: Importer) -> None:
    made = (await importer.client.post("/v1/lists", json={"name": "Quincy"})).json()
    dry = await importer.upload(dry_run="true", list_id=made["id"])
    await importer.client.delete(f"/v1/lists/{made['id']}")

    answer = await importer.post(dry["id"], "commit")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_import_option")


async def test_undo_reverts_everything_and_a_new_commit_repeats_it(importer: Importer) -> None:
    await importer.client.post("/v1/contacts", json=KNOWN)
    before = await importer.contacts()
    dry = await importer.upload(dry_run="true", on_duplicate="overwrite", list_name="Quincy")
    first = await importer.commit(dry["id"])
    written = await importer.contacts()

    undone = await importer.undo(first["id"])

    assert undone["status"] == "completed"
    assert undone["undo"]["status"] == "completed"
    assert undone["undone_at"].endswith("Z")
    assert undo_counts(undone) == {"removed": 1, "restored": 1, "memberships_removed": 2}
    assert await importer.contacts() == before
    assert await importer.phones_on_list(first["list_id"]) == []

    second = await importer.commit(dry["id"])

    assert second["id"] != first["id"]
    assert (second["created"], second["updated"], second["changed_since_dry_run"]) == (1, 1, 0)
    moving = {"created_at", "updated_at"}
    assert {
        phone: {name: value for name, value in contact.items() if name not in moving}
        for phone, contact in (await importer.contacts()).items()
    } == {
        phone: {name: value for name, value in contact.items() if name not in moving}
        for phone, contact in written.items()
    }
    assert await importer.phones_on_list(first["list_id"]) == ["+16175550101", "+16175550102"]


async def test_undo_keeps_later_edits(importer: Importer) -> None:
    await importer.client.post("/v1/contacts", json=KNOWN)
    done = await importer.upload(list_name="Quincy")
    for contact in (await importer.contacts()).values():
        await importer.client.patch(f"/v1/contacts/{contact['id']}", json={"company": "Granite"})

    undone = await importer.undo(done["id"])

    assert undo_counts(undone) == {"left_edited": 2}
    assert {one["last_name"] for one in (await importer.contacts()).values()} == {"Rossi", "Kim"}
    assert await importer.phones_on_list(done["list_id"]) == ["+16175550101", "+16175550102"]


async def test_undo_keeps_contacts_that_opted_out_since(importer: Importer) -> None:
    done = await importer.upload()
    leo = (await importer.contacts())["+16175550102"]
    await importer.client.post(f"/v1/contacts/{leo['id']}/opt-out", json={"reason": "asked"})

    undone = await importer.undo(done["id"])

    assert undo_counts(undone) == {"removed": 1, "left_in_use": 1}
    left = await importer.contacts()
    assert {phone: one["opted_out"] for phone, one in left.items()} == {"+16175550102": True}


async def test_undo_keeps_contacts_with_new_notes(importer: Importer) -> None:
    done = await importer.upload()
    leo = (await importer.contacts())["+16175550102"]
    await importer.client.post(
        f"/v1/contacts/{leo['id']}/notes", json={"body": "Crack by the door."}
    )

    undone = await importer.undo(done["id"])

    assert undo_counts(undone) == {"removed": 1, "left_in_use": 1}
    assert list(await importer.contacts()) == ["+16175550102"]


async def test_undo_keeps_contacts_with_new_tasks(importer: Importer) -> None:
    done = await importer.upload()
    leo = (await importer.contacts())["+16175550102"]
    await importer.client.post(
        "/v1/tasks",
        json={"title": "Call", "due_at": "2026-12-01T15:00:00Z", "contact_id": leo["id"]},
    )

    undone = await importer.undo(done["id"])

    assert undo_counts(undone) == {"removed": 1, "left_in_use": 1}
    assert list(await importer.contacts()) == ["+16175550102"]


async def test_undo_keeps_contacts_that_received_messages_since(
    importer: Importer, session: AsyncSession
) -> None:
    done = await importer.upload()
    line = await make_line(session)
    leo = (await importer.contacts())["+16175550102"]
    await session.execute(
        text(
            "INSERT INTO send_attempt (id, kind, line_id, activity_id, phone, body, status, "
            "created_at, updated_at) VALUES (uuid_v7(), 'manual', :line_id, uuid_v7(), :phone, "
            "'Hi', 'sent', :now, :now)"
        ),
        {"line_id": line.id, "phone": leo["phone"], "now": clock.now()},
    )
    await session.commit()

    undone = await importer.undo(done["id"])

    assert undo_counts(undone) == {"removed": 1, "left_in_use": 1}
    assert list(await importer.contacts()) == ["+16175550102"]


async def test_opt_out_is_kept_after_undo_and_new_import(importer: Importer) -> None:
    done = await importer.upload()
    leo = (await importer.contacts())["+16175550102"]
    await importer.client.post(f"/v1/contacts/{leo['id']}/opt-out", json={"reason": "asked"})
    await importer.client.delete(f"/v1/contacts/{leo['id']}")
    await importer.undo(done["id"])

    await importer.upload()

    assert (await importer.contacts())["+16175550102"]["opted_out"] is True


async def test_later_import_must_be_undone_before_an_earlier_import(importer: Importer) -> None:
    early = await importer.upload("phone,first_name\n617-555-0101,Ada\n")
    late = await importer.upload("phone,last_name\n617-555-0101,Rossi\n")

    refused = await importer.undo(early["id"])
    assert undo_counts(refused) == {"left_edited": 1}

    assert undo_counts(await importer.undo(late["id"])) == {"restored": 1}
    (ada,) = (await importer.contacts()).values()
    assert (ada["first_name"], ada["last_name"]) == ("Ada", None)


async def test_undo_in_order_removes_all(importer: Importer) -> None:
    early = await importer.upload("phone,first_name\n617-555-0101,Ada\n")
    late = await importer.upload("phone,last_name\n617-555-0101,Rossi\n")

    await importer.undo(late["id"])
    await importer.undo(early["id"])

    assert await importer.contacts() == {}


async def test_undo_updates_pending_recipients(importer: Importer, session: AsyncSession) -> None:
    await importer.client.post("/v1/contacts", json={"phone": "+16175550101"})
    done = await importer.upload("phone,state\n617-555-0101,CA\n617-555-0102,CA\n")
    campaign = await make_campaign(session, line=await make_line(session))
    for contact in await session.scalars(select(Contact)):
        await make_member(session, campaign=campaign, contact=contact)
    await session.commit()

    await importer.undo(done["id"])

    rows = await session.execute(
        text("SELECT phone, status, skip_reason, zone_key FROM campaign_membership ORDER BY 1")
    )
    moved = "CA,MA/America/Los_Angeles,America/New_York"
    assert [tuple(row) for row in rows] == [
        ("+16175550101", "pending", None, "MA/America/New_York"),
        ("+16175550102", "skipped", "contact_deleted", moved),
    ]


async def test_undo_requested_twice_runs_once(importer: Importer) -> None:
    done = await importer.upload()
    await importer.undo(done["id"])

    again = await importer.post(done["id"], "undo")

    assert (again.status_code, again.json()["undo"]["status"]) == (202, "completed")


@pytest.mark.parametrize("kind", ["dry run", "open", "old"])
async def test_undo_of_an_import_that_cannot_be_undone_is_refused(
    importer: Importer, new_uow: NewUow, session: AsyncSession, kind: str
) -> None:
    if kind == "open":
        files = {"file": ("people.csv", FILE.encode(), "text/csv")}
        body = (await importer.client.post(URL, files=files)).json()
    else:
        body = await importer.upload(dry_run=str(kind == "dry run"))
    if kind == "old":
        async with new_uow() as uow:
            late = clock.now() + timedelta(days=31)
            assert await contact_imports.clean_up_imports(uow, now=late) == 1
            assert await contact_imports.clean_up_imports(uow, now=late) == 0

    answer = await importer.post(body["id"], "undo")

    assert (answer.status_code, answer.json()["code"]) == (409, "import_not_undoable")
    assert (await importer.post(str(uuid4()), "undo")).status_code == 404
    chunks = await session.scalar(text("SELECT count(*) FROM contact_import_chunk"))
    assert chunks == (1 if kind == "dry run" else 0)


async def test_old_dry_run_cannot_be_committed_and_keeps_no_personal_data(
    importer: Importer, new_uow: NewUow
) -> None:
    dry = await importer.upload(dry_run="true")
    async with new_uow() as uow:
        await contact_imports.clean_up_imports(uow, now=clock.now() + timedelta(days=31))

    answer = await importer.post(dry["id"], "commit")

    assert (answer.status_code, answer.json()["code"]) == (409, "dry_run_not_ready")
    body = (await importer.client.get(f"{URL}/{dry['id']}")).json()
    assert (body["sample"], body["columns"], body["created"]) == ([], [], 2)


async def test_old_uploads_are_deleted(importer: Importer) -> None:
    dry = await importer.upload(dry_run="true")
    path = contact_imports.upload_path(importer.settings.data_dir, dry["id"])
    folder = contact_imports.uploads_folder(importer.settings.data_dir)

    contact_imports.discard_old_uploads(folder, wall_now=clock.wall_now() + timedelta(days=29))
    assert path.exists()
    contact_imports.discard_old_uploads(folder, wall_now=clock.wall_now() + timedelta(days=31))
    assert not path.exists()


async def test_interrupted_undo_continues_where_it_stopped(
    importer: Importer, session: AsyncSession, new_uow: NewUow
) -> None:
    rows = "".join(f"+1617555{at:04d},Ada\n" for at in range(7_000))
    done = await importer.upload("phone,first_name\n" + rows)
    await importer.post(done["id"], "undo")
    deps = WorkerDeps(new_uow, Storage(importer.settings.data_dir))
    async with new_uow() as uow:
        claimed = await undo.claim_undo(uow.session, now=clock.now())
        assert claimed is not None
    async with new_uow() as uow:
        assert await undo.undo_chunk(uow, import_id=claimed.id, now=clock.now())
    # The first worker has stopped, but its lease is still valid. Another worker changes nothing
    # until the lease expires.
    await run_imports({"deps": deps})
    body = (await importer.client.get(f"{URL}/{done['id']}")).json()
    assert (body["undo"]["status"], body["undo"]["removed"]) == ("running", 2_000)
    await session.execute(text("UPDATE contact_import SET lease_until = :now"), {"now": NOW})
    await session.commit()

    body = await importer.finish(done["id"])

    assert (body["undo"]["status"], body["undo"]["removed"]) == ("completed", 7_000)
    assert await importer.contacts() == {}


async def test_dry_run_is_corrected_without_another_upload(importer: Importer) -> None:
    content = "Number,Contact\n617-555-0101,Ada Rossi\n12,Leo Kim\n"
    dry = await importer.upload(content, dry_run="true")
    assert (dry["created"], dry["invalid"]) == (1, 1)

    answer = await importer.client.patch(
        f"{URL}/{dry['id']}",
        json={"mapping": {"Contact": "company"}, "list_name": "Quincy", "on_duplicate": "skip"},
    )

    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["rows_processed"]) == ("pending", 0)
    again = await importer.finish(dry["id"])
    assert (again["status"], again["created"], again["invalid"]) == ("completed", 1, 1)
    assert again["mapping"] == {"Number": "phone", "Contact": "company"}
    assert (again["on_duplicate"], again["list_name"]) == ("skip", "Quincy")
    assert again["sample"][0]["changes"] == {"company": {"before": None, "after": "Ada Rossi"}}
    errors = (await importer.client.get(f"{URL}/{dry['id']}/errors")).text
    assert len(errors.splitlines()) == 2
    await importer.commit(dry["id"])
    assert [one["company"] for one in (await importer.contacts()).values()] == ["Ada Rossi"]


async def test_correction_without_a_mapping_keeps_the_mapping(importer: Importer) -> None:
    dry = await importer.upload(FILE, dry_run="true", mapping='{"city": null}')

    await importer.client.patch(f"{URL}/{dry['id']}", json={"on_duplicate": "overwrite"})

    again = await importer.finish(dry["id"])
    assert (again["mapping"], again["on_duplicate"]) == (dry["mapping"], "overwrite")


async def test_correction_with_an_empty_mapping_detects_all_fields_again(
    importer: Importer,
) -> None:
    dry = await importer.upload(FILE, dry_run="true", mapping='{"city": null}')
    assert dry["mapping"]["city"] is None

    await importer.client.patch(f"{URL}/{dry['id']}", json={"mapping": {}})

    again = await importer.finish(dry["id"])
    assert again["mapping"] == dry["mapping"] | {"city": "city"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"mapping": {"nope": "phone"}}, "/mapping/nope"),
        ({"list_id": str(uuid4())}, "/list_id"),
        ({"list_id": str(uuid4()), "list_name": "x"}, "/list_id"),
        ({"dry_run": False}, "/dry_run"),
    ],
)
async def test_invalid_correction_names_the_field(
    importer: Importer, body: dict[str, Any], pointer: str
) -> None:
    dry = await importer.upload(dry_run="true")

    answer = await importer.client.patch(f"{URL}/{dry['id']}", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert (await importer.finish(dry["id"]))["status"] == "completed"


async def test_correction_of_an_import_that_cannot_be_corrected_is_refused(
    importer: Importer,
) -> None:
    done = await importer.upload()
    dry = await importer.upload(dry_run="true")
    committed = await importer.commit(dry["id"])
    lost = await importer.upload(dry_run="true")
    contact_imports.upload_path(importer.settings.data_dir, lost["id"]).unlink()

    answers = [
        await importer.client.patch(f"{URL}/{import_id}", json={})
        for import_id in (done["id"], dry["id"], lost["id"], str(uuid4()))
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (409, "not_a_dry_run"),
        (409, "dry_run_committed"),
        (422, "upload_gone"),
        (404, "import_not_found"),
    ]
    assert answers[1].json()["import_id"] == committed["id"]


async def test_large_file_is_read_in_a_thread_with_the_same_result(importer: Importer) -> None:
    rows = "".join(f"+1617555{at:04d},Ada,{'x' * 60}\n" for at in range(6_000))
    content = "phone,first_name,notes\n" + rows + "12,Leo,\n"
    assert len(content) > THREAD_BYTES

    done = await importer.upload(content, dry_run="true")

    assert (done["rows_total"], done["rows_processed"]) == (6_001, 6_001)
    assert (done["created"], done["invalid"]) == (6_000, 1)


async def test_large_file_with_binary_content_at_its_end_fails_with_a_reason(
    importer: Importer,
) -> None:
    rows = "".join(f"+1617555{at:04d},Ada,{'x' * 60}\n" for at in range(6_000))

    done = await importer.upload("phone,first_name,notes\n" + rows + "\0\n")

    assert done["status"] == "failed"
    assert "binary" in done["error"]


async def test_every_chunk_and_the_end_emit_events(
    committed_client: httpx.AsyncClient, committed_uow: NewUow, settings: Settings
) -> None:
    importer = Importer(committed_client, committed_uow, settings)
    rows = "".join(f"+1617555{at:04d},Ada\n" for at in range(6_000))

    done = await importer.upload("phone,first_name\n" + rows)
    await importer.undo(done["id"])

    async with committed_uow() as uow:
        found = await uow.session.execute(
            text("SELECT subject_id, data FROM event WHERE type = 'import.progress' ORDER BY id")
        )
    seen = [
        (
            str(event.subject_id),
            event.data["status"],
            event.data["rows_processed"],
            (event.data["undo"] or {}).get("status"),
        )
        for event in found
    ]
    assert seen == [
        (done["id"], "running", 5_000, None),
        (done["id"], "running", 6_000, None),
        (done["id"], "completed", 6_000, None),
        (done["id"], "completed", 6_000, "running"),
        (done["id"], "completed", 6_000, "running"),
        (done["id"], "completed", 6_000, "completed"),
    ]

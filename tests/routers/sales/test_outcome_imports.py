"""Tests of imports of outcomes: dry run, commit, errors, repeated files and undo."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import SECRET
from tests.factories import make_contact, number
from tests.routers.imports.test_import_steps import Importer

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts.models import CONTACT_IMPORTS
from crm_api.domain.imports.files import runs
from crm_api.domain.sales.outcome_imports import source
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings
from crm_api.routers.imports import imports as routes
from crm_api.workers.import_runs import write_import
from crm_api.workers.imports import outcome_work

KeyWith = Callable[..., Awaitable[dict[str, str]]]
NewUow = Callable[[], UnitOfWork]
URL = "/v1/imports"
FILE = (
    "Phone,Type,Total,Currency,Date,Invoice #\n"
    '617-555-0101,invoice_paid,"$1,234.50",USD,2026-11-20,INV-1\n'
    "617-555-0102,Quote sent,900,,11/21/2026,Q-7\n"
    "617-555-0102,job_done,,,2026-11-22,\n"
    "617-555-0102,job_done,,,2026-11-22,\n"
    "617-555-0103,invoice_paid,12.345,,2026-11-22,INV-2\n"
    "617-555-0103,invoice_paid,5,EUR,2026-11-22,INV-3\n"
    "617-555-0103,referral,5,,2026-11-22,INV-4\n"
    "call me,invoice_paid,5,,2026-11-22,INV-5\n"
    "617-555-0101,invoice_paid,6,,2026-11-20,INV-1\n"
    "617-555-0101,invoice_paid,6,,soon,INV-6\n"
)
COUNTS = ("status", "rows_total", "rows_processed", "created", "unchanged", "invalid")


@pytest.fixture
def importer(client: httpx.AsyncClient, new_uow: NewUow, settings: Settings) -> Importer:
    return Importer(client, new_uow, settings)


async def outcomes(client: httpx.AsyncClient, **query: Any) -> list[Any]:
    response = await client.get("/v1/outcomes", params=query)
    assert response.status_code == 200, response.text
    found: list[Any] = response.json()["data"]
    return found


def counts(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in COUNTS]


async def test_file_is_recorded_once(importer: Importer, session: AsyncSession) -> None:
    contact = await make_contact(session, phone="+16175550101")

    first = await importer.upload(FILE, kind="outcomes")
    again = await importer.upload(FILE, kind="outcomes")

    assert (first["kind"], counts(first)) == ("outcomes", ["completed", 10, 10, 3, 0, 6])
    assert first["duplicates_in_file"] == 1
    assert counts(again) == ["completed", 10, 10, 0, 3, 6]
    found = {one["kind"]: one for one in await outcomes(importer.client)}
    assert len(found) == 3
    paid = found["invoice_paid"]
    assert (paid["amount_cents"], paid["currency"], paid["source"]) == (123_450, "USD", "import")
    assert (paid["contact_id"], paid["external_id"]) == (str(contact.id), "INV-1")
    assert paid["occurred_at"] == "2026-11-20T17:00:00.000Z"
    assert found["job_done"]["phone"] == "+16175550102"
    assert found["job_done"]["external_id"].startswith("row ")
    assert (await importer.client.get("/v1/contacts")).json()["data"][0]["id"] == str(contact.id)


async def test_bad_rows_are_in_the_errors_file(importer: Importer) -> None:
    made = await importer.upload(FILE, kind="outcomes")

    lines = (await importer.client.get(f"{URL}/{made['id']}/errors")).text.splitlines()

    assert lines[0] == "line,column,value,reason"
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["6", "Total", "12.345"],
        ["7", "Currency", "EUR"],
        ["8", "Type", "referral"],
        ["9", "Phone", "call me"],
        ["10", "Invoice #", "INV-1"],
        ["11", "Date", "soon"],
    ]
    assert all("The row was not imported." in line for line in lines[1:])


async def test_dry_run_records_nothing_and_commits_the_same(importer: Importer) -> None:
    dry = await importer.upload(FILE, kind="outcomes", dry_run="true")

    assert counts(dry) == ["completed", 10, 10, 3, 0, 6]
    assert dry["sample"][0]["changes"]["amount_cents"] == {"before": None, "after": 123_450}
    assert await outcomes(importer.client) == []

    made = await importer.commit(dry["id"])

    assert (made["kind"], counts(made)) == ("outcomes", ["completed", 10, 10, 3, 0, 6])
    recorded = await outcomes(importer.client)
    assert len(recorded) == 3
    assert {one["recorded_by"] for one in recorded} != {None}
    assert not any(one["recorded_by"].startswith("import ") for one in recorded)


async def test_dry_run_is_corrected(importer: Importer) -> None:
    content = "phone,what was it,day,date\n617-555-0101,paid,2026-11-02,2026-11-01\n"
    dry = await importer.upload(
        content, kind="outcomes", dry_run="true", mapping='{"what was it": "kind"}'
    )
    url = f"{URL}/{dry['id']}"

    refused = await importer.client.patch(url, json={"list_name": "Quincy"})
    answer = await importer.client.patch(url, json={"mapping": {"day": "date", "date": None}})

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_import_option")
    # A new mapping of columns replaces the earlier mapping completely.
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_file")
    mapping = {"day": "date", "date": None, "what was it": "kind"}
    assert (await importer.client.patch(url, json={"mapping": mapping})).status_code == 202
    await importer.finish(dry["id"])
    await importer.commit(dry["id"])
    assert (await outcomes(importer.client))[0]["occurred_at"] == "2026-11-02T17:00:00.000Z"


async def test_undo_records_reversals_and_the_file_can_be_imported_again(
    importer: Importer,
) -> None:
    made = await importer.upload(FILE, kind="outcomes")
    first = (await outcomes(importer.client, kind="quote_sent"))[0]
    assert (await importer.client.post(f"/v1/outcomes/{first['id']}/reverse")).status_code == 201

    trial = await importer.client.post(f"{URL}/{made['id']}/undo", json={"dry_run": True})
    answer = await importer.post(made["id"], "undo")
    undone = await importer.finish(made["id"])

    assert trial.json()["counts"]["removed"] == 2
    assert trial.json()["counts"]["left_edited"] == 1
    assert answer.status_code == 202
    assert undone["undo"]["status"] == "completed"
    assert (undone["undo"]["removed"], undone["undo"]["left_edited"]) == (2, 1)
    assert len(await outcomes(importer.client)) == 6
    assert await outcomes(importer.client, reversed=False) == []

    again = await importer.upload(FILE, kind="outcomes")
    third = await importer.upload(FILE, kind="outcomes")

    # The import creates two outcomes again. The outcome that a user reversed stays reversed.
    assert (again["created"], again["unchanged"]) == (2, 1)
    assert (third["created"], third["unchanged"]) == (0, 3)
    assert len(await outcomes(importer.client, reversed=False)) == 2


async def test_different_values_with_a_known_external_id_are_refused(importer: Importer) -> None:
    start = "phone,kind,amount,date,external id\n617-555-0101,"
    await importer.upload(f"{start}quote_sent,5,2026-11-01,1042\n", kind="outcomes")

    changed = await importer.upload(f"{start}quote_sent,6,2026-11-01,1042\n", kind="outcomes")
    other = await importer.upload(f"{start}invoice_paid,5,2026-11-01,1042\n", kind="outcomes")
    again = await importer.upload(f"{start}invoice_paid,5,2026-11-01,1042\n", kind="outcomes")

    assert (changed["created"], changed["invalid"]) == (0, 1)
    known = (await outcomes(importer.client, kind="quote_sent"))[0]
    errors = (await importer.client.get(f"{URL}/{changed['id']}/errors")).text
    assert known["id"] in errors
    assert (other["created"], again["created"], again["unchanged"]) == (1, 0, 1)
    paid = (await outcomes(importer.client, kind="invoice_paid"))[0]
    assert paid["external_id"] == "1042 (invoice_paid)"


async def test_invoices_without_a_kind_are_read_by_their_status(importer: Importer) -> None:
    content = (
        "Invoice No,Customer,Cell,Paid On,Amount,Status\n"
        "1,Ada,617-555-0101,2026-11-01,$10.00,Paid\n"
        "2,Leo,617-555-0102,2026-11-01,$20.00,Overdue\n"
        "3,Eva,617-555-0103,2026-11-01,$30.00,Open\n"
    )

    made = await importer.upload(content, kind="outcomes")

    assert (made["created"], made["invalid"]) == (1, 2)
    assert [one["amount_cents"] for one in await outcomes(importer.client)] == [1_000]


async def test_import_stops_and_continues_between_chunks(
    importer: Importer, new_uow: NewUow, settings: Settings
) -> None:
    rows = "".join(f"{number(at)},job_done,2026-11-01,J-{at}\n" for at in range(1, 451))
    files = {"file": ("jobs.csv", f"phone,kind,date,id\n{rows}".encode(), "text/csv")}
    answer = await importer.client.post(URL, files=files, data={"kind": "outcomes"})

    async with new_uow() as uow:
        row = await runs.claim_import(uow.session, CONTACT_IMPORTS, now=clock.now())
    assert row is not None
    path = contact_imports.rows_path(settings.data_dir, row)
    work = outcome_work(new_uow, secret=SECRET.encode())

    await write_import(new_uow, work, row, path=path, is_over=lambda: True)

    part = (await importer.client.get(f"{URL}/{row.id}")).json()
    assert (part["rows_total"], part["rows_processed"]) == (450, 200)
    done = await importer.finish(answer.json()["id"])
    undone = await importer.undo(done["id"])

    assert counts(done) == ["completed", 450, 450, 450, 0, 0]
    assert undone["undo"]["removed"] == 450


async def test_cancelled_import_keeps_what_it_recorded(importer: Importer) -> None:
    files = {"file": ("jobs.csv", FILE.encode(), "text/csv")}
    answer = await importer.client.post(URL, files=files, data={"kind": "outcomes"})

    stopped = await importer.post(answer.json()["id"], "cancel")
    done = await importer.finish(answer.json()["id"])

    assert stopped.status_code == 200
    assert counts(done) == ["cancelled", None, 0, 0, 0, 0]
    assert list(contact_imports.uploads_folder(importer.settings.data_dir).iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        {"list_name": "Quincy"},
        {"list_id": "00000000-0000-7000-8000-000000000000"},
        {"on_duplicate": "overwrite"},
        {"source": "openphone"},
        {"kind": "quotes"},
    ],
)
async def test_unsuitable_option_is_refused(importer: Importer, options: dict[str, str]) -> None:
    files = {"file": ("jobs.csv", FILE.encode(), "text/csv")}

    answer = await importer.client.post(URL, files=files, data={"kind": "outcomes", **options})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_import_option")


async def test_outcomes_scope_is_needed(importer: Importer, key_with: KeyWith) -> None:
    dry = await importer.upload(FILE, kind="outcomes", dry_run="true")
    files = {"file": ("jobs.csv", FILE.encode(), "text/csv")}
    headers = await key_with(Scope.CONTACTS_WRITE)

    answers = [
        await importer.client.post(URL, files=files, data={"kind": "outcomes"}, headers=headers),
        await importer.client.post(f"{URL}/{dry['id']}/commit", headers=headers),
        await importer.client.patch(f"{URL}/{dry['id']}", json={}, headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert {answer.json()["required_scope"] for answer in answers} == {Scope.INSIGHT_WRITE}


async def test_file_that_is_too_large_is_refused(
    importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MAX_OUTCOME_BYTES", 100)
    monkeypatch.setattr(source, "MAX_ROWS", 5)
    small = "phone,kind,date\n" + "617-555-0101,job,2026-1-1\n" * 3
    files = {"file": ("jobs.csv", FILE.encode(), "text/csv")}

    refused = await importer.client.post(URL, files=files, data={"kind": "outcomes"})
    taken = await importer.upload(small, kind="outcomes")
    monkeypatch.setattr(routes, "MAX_OUTCOME_BYTES", 10_000)
    failed = await importer.upload(FILE, kind="outcomes")

    assert (refused.status_code, refused.json()["code"]) == (413, "file_too_large")
    assert taken["status"] == "completed"
    assert (failed["status"], failed["created"]) == ("failed", 0)
    assert failed["error"].startswith("The file has more than 5 rows.")

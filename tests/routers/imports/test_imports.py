"""Tests of the routes of imports."""

import csv
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import Request
from tests.conftest import SECRET
from tests.fakes import RecordingQueue

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts.models import CONTACT_IMPORTS
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.errors import FileTooLargeError
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import JobName
from crm_api.platform.settings import Settings
from crm_api.routers.http.uploads import receive
from crm_api.routers.imports.imports import MAX_FILE_BYTES
from crm_api.workers.import_runs import write_import
from crm_api.workers.imports import contact_work

KeyWith = Callable[..., Awaitable[dict[str, str]]]
NewUow = Callable[[], UnitOfWork]
URL = "/v1/imports"
PEOPLE = "phone,first_name\n617-555-0101,Ada\n617-555-0102,Leo\n"
FIELDS = {
    "id",
    "status",
    "detected_format",
    "mapping",
    "rows_total",
    "rows_processed",
    "created",
    "updated",
    "unchanged",
    "duplicates_in_file",
    "invalid",
    "list_id",
    "started_at",
    "finished_at",
    "error",
}


def form(content: bytes | str = PEOPLE, name: str = "people.csv") -> dict[str, Any]:
    return {"file": (name, content.encode() if isinstance(content, str) else content, "text/csv")}


async def run(new_uow: NewUow, settings: Settings) -> None:
    async with new_uow() as uow:
        row = await runs.claim_import(uow.session, CONTACT_IMPORTS, now=clock.now())
    assert row is not None
    path = contact_imports.upload_path(settings.data_dir, row.id)
    work = contact_work(new_uow, secret=SECRET.encode())
    await write_import(new_uow, work, row, path=path, is_over=lambda: False)


def stored_uploads(settings: Settings) -> list[str]:
    folder = settings.data_dir / "imports"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


async def test_key_is_needed(client: httpx.AsyncClient, settings: Settings) -> None:
    del client.headers["Authorization"]

    answer = await client.post(URL, files=form())

    assert answer.status_code == 401
    assert stored_uploads(settings) == []


async def test_scope_is_needed(client: httpx.AsyncClient, key_with: KeyWith) -> None:
    reads = await key_with(Scope.CONTACTS_READ)
    sends = await key_with(Scope.MESSAGES_SEND)

    assert (await client.post(URL, files=form(), headers=reads)).status_code == 403
    assert (await client.get(URL, headers=sends)).status_code == 403
    assert (await client.get(URL, headers=reads)).status_code == 200


async def test_upload_is_accepted_and_imported_in_the_background(
    client: httpx.AsyncClient, new_uow: NewUow, settings: Settings, queue: RecordingQueue
) -> None:
    answer = await client.post(URL, files=form(), data={"list_name": "Quincy"})

    assert answer.status_code == 202
    accepted = answer.json()
    assert set(accepted) >= FIELDS
    assert (accepted["status"], accepted["rows_total"]) == ("pending", None)
    assert accepted["detected_format"] == "generic"
    assert accepted["mapping"] == {"phone": "phone", "first_name": "first_name"}
    assert accepted["list_id"]
    assert queue.names == [JobName.RUN_IMPORTS]
    assert stored_uploads(settings) == [f"{accepted['id']}.csv"]

    await run(new_uow, settings)

    done = (await client.get(f"{URL}/{accepted['id']}")).json()
    assert (done["status"], done["created"], done["rows_total"]) == ("completed", 2, 2)
    assert done["finished_at"].endswith("Z")
    assert stored_uploads(settings) == []


async def test_mapping_of_the_user_is_used(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        URL,
        files=form("a,b\n6175550101,x\n"),
        data={"mapping": '{"a": "phone", "b": null}', "on_duplicate": "skip", "dry_run": "true"},
    )

    body = answer.json()
    assert body["mapping"] == {"a": "phone", "b": None}
    assert (body["on_duplicate"], body["dry_run"]) == ("skip", True)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"phone,name\n", "empty_file"),
        (b"PK\x03\x04zip", "not_csv"),
        (b"a,b\0\0,c\n1,2\n", "not_csv"),
        (b"name,city\nAda,Quincy\n", "no_phone_column"),
    ],
)
async def test_unusable_file_is_refused_at_once(
    client: httpx.AsyncClient, settings: Settings, content: bytes, code: str
) -> None:
    answer = await client.post(URL, files=form(content))

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, code)
    assert problem["errors"][0]["pointer"] == "/file"
    assert stored_uploads(settings) == []
    assert (await client.get(URL)).json()["data"] == []


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"mapping": "{"}, "/mapping"),
        ({"mapping": '["phone"]'}, "/mapping"),
        ({"mapping": '{"nope": "phone"}'}, "/mapping/nope"),
        ({"mapping": '{"first_name": "telefon"}'}, "/mapping/first_name"),
        ({"on_duplicate": "merge"}, "/on_duplicate"),
        ({"dry_run": "perhaps"}, "/dry_run"),
        ({"list_id": "7"}, "/list_id"),
        ({"list_id": str(uuid4())}, "/list_id"),
        ({"list_id": str(uuid4()), "list_name": "x"}, "/list_id"),
        ({"list_name": "x" * 201}, "/list_name"),
        ({"colour": "blue"}, "/colour"),
    ],
)
async def test_invalid_option_is_named(
    client: httpx.AsyncClient, settings: Settings, fields: dict[str, str], pointer: str
) -> None:
    answer = await client.post(URL, files=form(), data=fields)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert stored_uploads(settings) == []


@pytest.mark.parametrize("source", [None, "file", 1, {}, [], True])
async def test_json_must_name_a_source_without_a_file(
    client: httpx.AsyncClient, source: object
) -> None:
    answer = await client.post(URL, json={"source": source})

    assert answer.status_code in {400, 422}
    assert (await client.get(URL)).json()["data"] == []


async def test_missing_or_second_file_is_refused(client: httpx.AsyncClient) -> None:
    none = await client.post(URL, files={"other": ("", b"x")})
    two = await client.post(
        URL, files=[("file", ("a.csv", b"phone\n1")), ("file", ("b.csv", b"phone\n1"))]
    )

    assert [answer.status_code for answer in (none, two)] == [422, 422]
    assert [answer.json()["errors"][0]["code"] for answer in (none, two)] == [
        "missing",
        "more_than_one",
    ]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b"no boundary here"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nphone\n617',
        ),
    ],
)
async def test_body_of_another_kind_is_malformed(
    client: httpx.AsyncClient, settings: Settings, kind: str, body: bytes
) -> None:
    answer = await client.post(URL, content=body, headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_upload")
    assert stored_uploads(settings) == []


async def test_file_declared_over_the_limit_is_refused(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    headers = {
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": str(MAX_FILE_BYTES * 2),
    }

    answer = await client.post(URL, content=b"--x", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert stored_uploads(settings) == []


async def test_file_that_grows_over_the_limit_is_refused(tmp_path: Path) -> None:
    request = httpx.Request("POST", "http://crm.test", files=form("phone\n" + "6175550101\n" * 99))

    async def receive_body() -> dict[str, Any]:
        return {"type": "http.request", "body": request.read(), "more_body": False}

    scope = {
        "type": "http",
        "headers": [(b"content-type", request.headers["content-type"].encode())],
    }

    with pytest.raises(FileTooLargeError):
        await receive(Request(scope, receive_body), tmp_path / "a.csv", max_bytes=1_000)


async def test_file_name_is_shown_but_not_used_as_a_path(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, files=form(name="..\\..\\etc/owners.csv"))

    assert answer.json()["file_name"] == "owners.csv"


async def test_large_upload_is_stored_completely(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    content = "phone,notes\n" + f"6175550101,{'x' * 1000}\n" * 4_000

    answer = await client.post(URL, files=form(content))

    path = contact_imports.upload_path(settings.data_dir, answer.json()["id"])
    assert path.read_text() == content


async def test_errors_are_a_csv_file_in_the_order_of_the_upload(
    client: httpx.AsyncClient, new_uow: NewUow, settings: Settings
) -> None:
    content = (
        'phone,email\ncall after 5,\n6175550101,=cmd\n"=HYPERLINK(""x"")",\n,ada@example.com\n'
    )
    import_id = (await client.post(URL, files=form(content))).json()["id"]
    await run(new_uow, settings)

    answer = await client.get(f"{URL}/{import_id}/errors")

    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["line", "column", "value", "reason"]
    assert [row[:3] for row in rows[1:]] == [
        ["2", "phone", "call after 5"],
        ["3", "email", "'=cmd"],
        ["4", "phone", '\'=HYPERLINK("x")'],
        ["5", "phone", ""],
    ]
    assert all(row[3].endswith(".") for row in rows[1:])


async def test_many_errors_are_streamed_in_pages(
    client: httpx.AsyncClient, new_uow: NewUow, settings: Settings
) -> None:
    content = "phone\n6175550101\n" + "x\n" * 2_500
    import_id = (await client.post(URL, files=form(content))).json()["id"]
    await run(new_uow, settings)

    rows = list(csv.reader(io.StringIO((await client.get(f"{URL}/{import_id}/errors")).text)))

    assert [row[0] for row in rows[1:]] == [str(line) for line in range(3, 2_503)]


async def test_pending_import_is_cancelled_and_its_file_deleted(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    import_id = (await client.post(URL, files=form())).json()["id"]

    first = await client.post(f"{URL}/{import_id}/cancel")
    again = await client.post(f"{URL}/{import_id}/cancel")

    assert [answer.status_code for answer in (first, again)] == [200, 200]
    assert first.json()["status"] == "cancelled"
    assert stored_uploads(settings) == []


async def test_finished_import_cannot_be_cancelled(
    client: httpx.AsyncClient, new_uow: NewUow, settings: Settings
) -> None:
    import_id = (await client.post(URL, files=form())).json()["id"]
    await run(new_uow, settings)

    answer = await client.post(f"{URL}/{import_id}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "import_finished")


@pytest.mark.parametrize("suffix", ["", "/errors"])
async def test_unknown_import_is_not_found(client: httpx.AsyncClient, suffix: str) -> None:
    answer = await client.get(f"{URL}/{uuid4()}{suffix}")

    assert (answer.status_code, answer.json()["code"]) == (404, "import_not_found")
    assert (await client.post(f"{URL}/{uuid4()}/cancel")).status_code == 404

"""Tests of the routes of do-not-contact lists (files of numbers that get no messages)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.conftest import UNKNOWN_ID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings
from crm_api.workers.imports import run_do_not_contact

KeyWith = Callable[..., Awaitable[dict[str, str]]]
PATH = "/v1/do-not-contact-uploads"
FILE = "phone\n617-555-0101\n=cmd()\n"


@dataclass
class WorkerDeps:
    new_uow: UnitOfWorkFactory
    settings: Settings
    is_stopping: bool = False
    works_for_seconds: float = 30.0


async def post(client: httpx.AsyncClient, content: str = FILE, **fields: str) -> httpx.Response:
    return await client.post(PATH, files={"file": ("stop.csv", content)}, data=fields)


def faults(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 422, response.text
    return {fault["pointer"]: fault["code"] for fault in response.json()["errors"]}


async def test_list_is_accepted_processed_and_reported(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, settings: Settings
) -> None:
    accepted = await post(client, reason="state list")
    path = f"{PATH}/{accepted.json()['id']}"

    await run_do_not_contact({"deps": WorkerDeps(new_uow, settings)})

    report = (await client.get(path)).json()
    errors = await client.get(f"{path}/errors")
    listed = (await client.get(PATH)).json()["data"]
    assert (accepted.status_code, accepted.json()["status"]) == (202, "pending")
    assert (report["status"], report["reason"], report["actor"]) == (
        "completed",
        "state list",
        "bootstrap",
    )
    assert (report["numbers_read"], report["invalid"], report["newly_suppressed"]) == (2, 1, 1)
    assert errors.headers["content-type"].startswith("text/csv")
    assert errors.text.splitlines() == [
        "line,column,value,reason",
        "3,phone,'=cmd(),The text contains no phone number.",
    ]
    assert [one["id"] for one in listed] == [accepted.json()["id"]]


async def test_flag_is_removed_by_its_delete(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, settings: Settings
) -> None:
    await post(client)
    await run_do_not_contact({"deps": WorkerDeps(new_uow, settings)})
    contact = (await client.post("/v1/contacts", json={"phone": "6175550101"})).json()

    gone = await client.delete(f"/v1/contacts/{contact['id']}/flags/do_not_contact")

    after = (await client.get(f"/v1/contacts/{contact['id']}")).json()
    assert contact["flags"] == ["do_not_contact"]
    assert gone.status_code == 204
    assert after["flags"] == []


@pytest.mark.parametrize(
    ("content", "fields", "found"),
    [
        ("", {}, {"/file": "empty_file"}),
        ("%PDF-1.7 …", {}, {"/file": "not_csv"}),
        ("name\nAda\n", {}, {"/file": "no_phone_column"}),
        (FILE, {"column": "tel"}, {"/mapping/tel": "unknown_column"}),
        (FILE, {"reason": "x" * 201}, {"/reason": "string_too_long"}),
        (FILE, {"dry_run": "perhaps"}, {"/dry_run": "bool_parsing"}),
        (FILE, {"list_name": "x"}, {"/list_name": "unknown_field"}),
    ],
)
async def test_unreadable_file_is_422(
    client: httpx.AsyncClient,
    settings: Settings,
    content: str,
    fields: dict[str, str],
    found: dict[str, str],
) -> None:
    assert faults(await post(client, content, **fields)) == found
    folder = settings.data_dir / "do-not-contact"
    assert not list(folder.iterdir())


async def test_column_of_the_numbers_can_be_named(client: httpx.AsyncClient) -> None:
    response = await post(client, "a,b\n617-555-0101,617-555-0102\n", column="b")

    assert response.json()["columns"] == ["b"]


async def test_cancel_stops_the_upload(client: httpx.AsyncClient, settings: Settings) -> None:
    path = f"{PATH}/{(await post(client)).json()['id']}"

    cancelled = await client.post(f"{path}/cancel")
    again = await client.post(f"{path}/cancel")

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert again.status_code == 200
    assert not list((settings.data_dir / "do-not-contact").iterdir())


ROUTES: list[tuple[str, str, Scope]] = [
    ("POST", PATH, Scope.CONTACTS_WRITE),
    ("GET", PATH, Scope.CONTACTS_READ),
    ("GET", f"{PATH}/{UNKNOWN_ID}", Scope.CONTACTS_READ),
    ("GET", f"{PATH}/{UNKNOWN_ID}/errors", Scope.CONTACTS_READ),
    ("POST", f"{PATH}/{UNKNOWN_ID}/cancel", Scope.CONTACTS_WRITE),
]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_key_and_scope_are_refused(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str, scope: Scope
) -> None:
    other = Scope.CONTACTS_READ if scope is Scope.CONTACTS_WRITE else Scope.CONTACTS_WRITE

    refused = await client.request(method, path, headers=await key_with(other))
    nobody = await client.request(method, path, headers={"authorization": ""})

    assert (refused.status_code, refused.json()["required_scope"]) == (403, scope)
    assert nobody.status_code == 401


@pytest.mark.parametrize(("method", "path", "_"), ROUTES[2:])
async def test_unknown_upload_is_404(
    client: httpx.AsyncClient, method: str, path: str, _: Any
) -> None:
    response = await client.request(method, path)

    assert (response.status_code, response.json()["code"]) == (
        404,
        "do_not_contact_upload_not_found",
    )

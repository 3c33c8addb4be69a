"""Tests of imports of contacts from the provider, which is the sandbox here."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.fakes import RecordingQueue
from tests.routers.imports.test_import_steps import URL
from tests.routers.imports.test_import_steps import Importer as House

from crm_api.dev.sandbox.app import Sandbox
from crm_api.dev.sandbox.faults import Fault, FaultScope
from crm_api.dev.sandbox.wire_format import stamp
from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts.source import ContactChunk
from crm_api.domain.imports.files.chunk_reader import OpenReaders
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings

NewUow = Callable[[], UnitOfWork]
FIELDS = [
    {"name": "Roof", "key": "roof", "type": "string"},
    {"name": "Kinds", "key": "kinds", "type": "multi-select"},
]
ADA = {
    "firstName": "Ada",
    "lastName": "Rossi",
    "company": "Granite",
    "role": "Owner",
    "emails": ["ada@example.com", "rossi@example.com"],
    "phoneNumbers": ["+16175550101", "(617) 555-0102"],
    "externalId": "crm-7",
    "customFields": {"roof": "slate", "kinds": ["house", "barn"]},
}


@dataclass
class Deps:
    """The dependencies of a worker, as far as imports from the provider use them."""

    new_uow: NewUow
    settings: Settings
    provider: OpenPhoneClient
    queue: RecordingQueue
    limiter: Limiter = field(default_factory=lambda: Limiter(rate_per_second=100_000))
    secret: bytes = b"a test's secret"
    circuit: None = None
    is_stopping: bool = False
    works_for_seconds: float = 30.0
    import_readings: OpenReaders[ContactChunk] = field(default_factory=OpenReaders)


@pytest.fixture
def house(
    client: httpx.AsyncClient,
    new_uow: NewUow,
    settings: Settings,
    queue: RecordingQueue,
    openphone: OpenPhoneClient,
) -> House:
    made = House(client, new_uow, settings)
    made.deps = Deps(new_uow, settings, openphone, queue)
    return made


def write_address_book(sandbox: Sandbox, body: dict[str, Any]) -> None:
    book, clock = sandbox.workspace.address_book, sandbox.workspace.config.clock
    book.write(body, at=stamp(clock()))


def add_contacts(sandbox: Sandbox, *contacts: dict[str, Any]) -> None:
    write_address_book(sandbox, {"contacts": list(contacts)})


async def request_import(house: House, **options: Any) -> str:
    answer = await house.client.post(URL, json={"source": "openphone", **options})
    assert answer.status_code == 202, answer.text
    import_id: str = answer.json()["id"]
    return import_id


def numbered_contacts(count: int) -> list[dict[str, Any]]:
    return [{"firstName": f"Ada{at}", "phoneNumbers": [f"+1617555{at:04d}"]} for at in range(count)]


async def test_contacts_are_imported_with_their_custom_fields(
    house: House, sandbox: Sandbox
) -> None:
    write_address_book(sandbox, {"fields": FIELDS, "contacts": [ADA]})

    done = await house.finish(await request_import(house))

    assert (done["status"], done["source"], done["created"]) == ("completed", "openphone", 1)
    assert done["detected_format"] == "openphone"
    assert done["mapping"]["Roof"] == "attributes.roof"
    (ada,) = (await house.contacts()).values()
    assert (ada["phone"], ada["first_name"], ada["last_name"], ada["company"]) == (
        "+16175550101",
        "Ada",
        "Rossi",
        "Granite",
    )
    assert ada["email"] == "ada@example.com"
    (held,) = sandbox.workspace.address_book.contacts
    assert ada["attributes"] == {
        "email_2": "rossi@example.com",
        "external_id": "crm-7",
        "kinds": "house; barn",
        "openphone_id": held["id"],
        "phone_2": "+16175550102",
        "role": "Owner",
        "roof": "slate",
    }


async def test_all_numbers_of_a_contact_are_kept(house: House, sandbox: Sandbox) -> None:
    numbers = [f"+1617555010{at}" for at in range(1, 6)]
    add_contacts(sandbox, {"firstName": "Ada", "phoneNumbers": numbers})

    await house.finish(await request_import(house))

    (ada,) = (await house.contacts()).values()
    kept = [ada["phone"], *(ada["attributes"][f"phone_{at}"] for at in range(2, 6))]
    assert kept == numbers


async def test_contacts_of_every_page_are_imported(house: House, sandbox: Sandbox) -> None:
    add_contacts(sandbox, *numbered_contacts(120))

    done = await house.finish(await request_import(house, list_name="Quincy"))

    assert (done["rows_total"], done["created"]) == (120, 120)
    lists = (await house.client.get("/v1/lists")).json()["data"]
    assert [(one["name"], one["contact_count"]) for one in lists] == [("Quincy", 120)]


async def test_contact_without_a_number_is_a_row_error(house: House, sandbox: Sandbox) -> None:
    add_contacts(sandbox, ADA | {"customFields": {}}, {"firstName": "Leo", "phoneNumbers": []})

    done = await house.finish(await request_import(house))

    assert (done["created"], done["invalid"]) == (1, 1)
    errors = (await house.client.get(f"{URL}/{done['id']}/errors")).text
    assert [row[0] for row in csv.reader(errors.splitlines())] == ["line", "3"]


async def test_commit_imports_the_contacts_that_the_dry_run_fetched(
    house: House, sandbox: Sandbox
) -> None:
    add_contacts(sandbox, *numbered_contacts(3))
    dry = await house.finish(await request_import(house, dry_run=True))
    assert (dry["status"], dry["created"]) == ("completed", 3)
    add_contacts(sandbox, ADA | {"customFields": {}})

    done = await house.commit(dry["id"])

    assert (done["source"], done["created"], done["changed_since_dry_run"]) == ("openphone", 3, 0)


async def test_fetching_continues_where_a_lost_worker_stopped(
    house: House, sandbox: Sandbox, session: AsyncSession
) -> None:
    add_contacts(sandbox, *numbered_contacts(120))
    import_id = await request_import(house)
    path = contact_imports.upload_path(house.settings.data_dir, UUID(import_id))
    pages: list[str | None] = []

    async def first_page(*, token: str | None) -> Any:
        if pages:
            raise OSError("the worker is killed")
        pages.append(token)
        return await listed(token=token)

    listed = house.deps.provider.lists.contacts
    house.deps.provider.lists.contacts = first_page
    with pytest.raises(OSError, match="killed"):
        await house.work()
    house.deps.provider.lists.contacts = listed
    # Simulate that the killed worker had also written half of another page to its file. The
    # database has no record of this page.
    with path.open("a") as file:
        file.write("half a page")
    await session.execute(text("UPDATE contact_import SET lease_until = NULL"))
    await session.commit()

    done = await house.finish(import_id)

    assert (done["status"], done["rows_total"], done["created"]) == ("completed", 120, 120)


async def test_import_waits_for_an_unavailable_provider(
    house: House, sandbox: Sandbox, session: AsyncSession, queue: RecordingQueue
) -> None:
    add_contacts(sandbox, *numbered_contacts(3))
    import_id = await request_import(house)
    unavailable = Fault(kind=FaultKind.ERROR_BEFORE, on=FaultScope.READ, probability=1.0)
    sandbox.workspace.faults.active.append(unavailable)

    waiting = await house.finish(import_id)

    assert waiting["status"] == "running"
    assert "500" in waiting["error"]
    assert queue.jobs[-1].delay_seconds >= 30
    sandbox.workspace.faults.active.clear()
    await session.execute(text("UPDATE contact_import SET lease_until = NULL"))
    await session.commit()
    done = await house.finish(import_id)
    assert (done["status"], done["error"], done["created"]) == ("completed", None, 3)


async def test_refusal_of_the_provider_fails_the_import(house: House, sandbox: Sandbox) -> None:
    sandbox.workspace.faults.active.append(
        Fault(kind=FaultKind.UNAUTHORIZED, on=FaultScope.READ, probability=1.0)
    )

    done = await house.finish(await request_import(house))

    assert done["status"] == "failed"
    assert "401" in done["error"]


async def test_empty_address_book_fails_the_import_with_a_reason(house: House) -> None:
    done = await house.finish(await request_import(house))

    assert (done["status"], done["error"]) == (
        "failed",
        "OpenPhone has no contacts to import. Upload a file instead.",
    )


async def test_custom_fields_that_change_during_the_import_fail_it(
    house: House, sandbox: Sandbox, session: AsyncSession
) -> None:
    add_contacts(sandbox, *numbered_contacts(60))
    import_id = await request_import(house)
    house.deps.provider.lists.contacts, listed = _fail, house.deps.provider.lists.contacts
    with pytest.raises(OSError, match="killed"):
        await house.work()
    house.deps.provider.lists.contacts = listed
    write_address_book(sandbox, {"fields": FIELDS})
    await session.execute(text("UPDATE contact_import SET lease_until = NULL"))
    await session.commit()

    done = await house.finish(import_id)

    assert done["status"] == "failed"
    assert "custom fields in OpenPhone changed" in done["error"]


async def _fail(*, token: str | None) -> Any:  # noqa: ARG001 - as above
    raise OSError("the worker is killed")


async def test_endless_list_of_contacts_fails_the_import(house: House, sandbox: Sandbox) -> None:
    add_contacts(sandbox, *numbered_contacts(3))
    listed = house.deps.provider.lists.contacts

    async def same_page(*, token: str | None) -> Any:  # noqa: ARG001 - the same for every page
        page = await listed(token=None)
        return type(page)(items=page.items, next_token="again")  # noqa: S106 - a page's token

    house.deps.provider.lists.contacts = same_page

    done = await house.finish(await request_import(house))

    assert done["status"] == "failed"
    assert "same page of contacts" in done["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"source": "file"}, 400), ([], 400), ({"source": "fax"}, 422)],
)
async def test_json_body_must_name_a_source_other_than_a_file(
    house: House, body: Any, status: int
) -> None:
    assert (await house.client.post(URL, json=body)).status_code == status


async def test_form_may_name_the_provider_as_the_source(house: House, sandbox: Sandbox) -> None:
    add_contacts(sandbox, *numbered_contacts(1))
    form = {"source": (None, b"openphone"), "mapping": (None, b'{"Role": null}')}

    answer = await house.client.post(URL, files=form)

    assert answer.status_code == 202, answer.text
    done = await house.finish(answer.json()["id"])
    assert (done["created"], done["mapping"]["Role"]) == (1, None)


async def test_form_with_another_source_must_not_contain_a_file(house: House) -> None:
    form = {"source": (None, b"openphone"), "file": ("a.csv", b"phone\n6175550101\n")}

    answer = await house.client.post(URL, files=form)

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "conflicting_fields")


async def test_invalid_mapping_fails_the_import(house: House, sandbox: Sandbox) -> None:
    add_contacts(sandbox, *numbered_contacts(1))

    done = await house.finish(await request_import(house, mapping={"Phone number": "telefon"}))

    assert done["status"] == "failed"
    assert "mapping" in done["error"]

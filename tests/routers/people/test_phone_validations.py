"""Tests of the routes of phone validation, which finds the line types of numbers."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.conftest import NOW
from tests.domain.people.phone_validation.lookup_host import lookup_host, make_answer
from tests.factories import make_contact, make_list
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName
from crm_api.platform.settings import Settings
from crm_api.workers.people import validate_phones

RUNS = "/v1/phone-validations"
UNKNOWN_RUN = f"{RUNS}/00000000-0000-7000-8000-000000000000"
KeyWith = Callable[..., Awaitable[dict[str, str]]]
ROUTES = [
    ("POST", RUNS, "contacts:write"),
    ("GET", RUNS, "contacts:read"),
    ("GET", UNKNOWN_RUN, "contacts:read"),
    ("POST", f"{UNKNOWN_RUN}/cancel", "contacts:write"),
]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_missing_key_or_scope_is_refused(
    client: httpx.AsyncClient, key_with: KeyWith, method: str, path: str, scope: str
) -> None:
    body = {"contact_ids": ["00000000-0000-7000-8000-000000000000"]}
    headers = await key_with(Scope.MESSAGES_READ)

    without_scope = await client.request(
        method, path, headers=headers, json=body if method == "POST" else None
    )
    del client.headers["Authorization"]
    without_key = await client.request(method, path)

    assert without_key.status_code == 401
    assert without_scope.status_code == 403
    assert without_scope.json()["required_scope"] == scope


async def test_run_is_accepted_shown_and_cancelled(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    async with new_uow() as uow:
        contact = await make_contact(uow.session)
        homeowners = await make_list(uow.session, contacts=[contact])

    made = await client.post(RUNS, json={"list_id": str(homeowners.id)})
    path = f"{RUNS}/{made.json()['id']}"
    shown = await client.get(path)
    listed = await client.get(RUNS)
    cancelled = await client.post(f"{path}/cancel")
    again = await client.post(f"{path}/cancel")

    assert made.status_code == 202
    assert queue.names == [JobName.VALIDATE_PHONES] * 2
    assert shown.json() == made.json()
    assert listed.json() == {"data": [made.json()], "next_cursor": None}
    assert made.json() | {"id": None, "created_at": None} == {
        "id": None,
        "status": "pending",
        "list_id": str(homeowners.id),
        "total": 1,
        "checked": 0,
        "looked_up": 0,
        "line_types": {},
        "last_error": None,
        "continues_at": None,
        "created_at": None,
        "started_at": None,
        "finished_at": None,
    }
    assert cancelled.json()["status"] == "cancelled"
    assert (again.status_code, again.json()["code"]) == (409, "phone_validation_ended")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "one_source"),
        ({"list_id": UNKNOWN_RUN[-36:], "contact_ids": [UNKNOWN_RUN[-36:]]}, "one_source"),
        ({"contact_ids": []}, "too_short"),
        ({"segment": "x"}, "unknown_field"),
    ],
)
async def test_body_without_contacts_is_refused(
    client: httpx.AsyncClient, body: dict[str, object], code: str
) -> None:
    answer = await client.post(RUNS, json=body)

    assert answer.status_code == 422
    assert code in {error["code"] for error in answer.json()["errors"]}


async def test_unknown_list_or_run_is_refused(client: httpx.AsyncClient) -> None:
    unknown_list = await client.post(RUNS, json={"list_id": UNKNOWN_RUN[-36:]})
    unknown_people = await client.post(RUNS, json={"contact_ids": [UNKNOWN_RUN[-36:]]})
    unknown_run = await client.get(UNKNOWN_RUN)
    not_cancelled = await client.post(f"{UNKNOWN_RUN}/cancel")

    assert (unknown_list.status_code, unknown_list.json()["code"]) == (404, "list_not_found")
    assert unknown_people.json()["code"] == "nobody_to_validate"
    assert unknown_people.status_code == 422
    assert unknown_run.json()["code"] == not_cancelled.json()["code"]
    assert unknown_run.status_code == not_cancelled.status_code == 404


async def test_job_uses_the_configured_service_and_contacts_show_the_line_type(
    client: httpx.AsyncClient,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> None:
    phones = {"+16175550111": "landline", "+16175550112": "pager", "+16175550113": None}
    async with new_uow() as uow:
        contacts = {
            phone: await make_contact(uow.session, phone=phone, now=NOW) for phone in phones
        }
        homeowners = await make_list(uow.session, contacts=list(contacts.values())[:2])
    path = f"/v1/contacts/{contacts['+16175550111'].id}"
    before = (await client.get(path)).json()["line_type"]
    made = await client.post(RUNS, json={"list_id": str(homeowners.id)})

    async with lookup_host() as host:
        host.by_phone = {phone: make_answer(said) for phone, said in phones.items() if said}
        named = settings.model_copy(
            update={
                "phone_lookup_url": host.url,
                "phone_lookup_api_key": settings.secret_key,
            }
        )
        await validate_phones({"deps": make_deps(named, new_uow, queue, provider)})

    run = (await client.get(f"{RUNS}/{made.json()['id']}")).json()
    listed = (await client.get("/v1/contacts")).json()["data"]
    on_list = (await client.get(f"/v1/lists/{homeowners.id}/contacts")).json()["data"]
    assert settings.secret_key is not None
    secret = settings.secret_key.get_secret_value()
    assert host.headers[0]["authorization"] == f"bearer {secret}"
    assert (run["status"], run["line_types"]) == ("completed", {"landline": 1, "unknown": 1})
    assert before is None
    assert (await client.get(path)).json()["line_type"] == "landline"
    assert {one["phone"]: one["line_type"] for one in listed} == {
        "+16175550111": "landline",
        "+16175550112": None,
        "+16175550113": None,
    }
    assert {one["line_type"] for one in on_list} == {"landline", None}


async def test_job_without_a_service_uses_the_numbering_plan(
    client: httpx.AsyncClient,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> None:
    async with new_uow() as uow:
        contact = await make_contact(uow.session, phone="+18002345678")
    await client.post(RUNS, json={"contact_ids": [str(contact.id)]})

    await validate_phones({"deps": make_deps(settings, new_uow, queue, provider)})

    shown = (await client.get(f"/v1/contacts/{contact.id}")).json()
    assert shown["line_type"] == "toll_free"

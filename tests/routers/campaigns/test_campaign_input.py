"""Unusual input of campaigns is refused with a 422 that names the field, or is sent correctly."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_campaign, make_contact, make_line, number
from tests.fakes import RecordingQueue
from tests.workers.drain import far_from_midnight, make_deps

from crm_api.dev.sandbox.app import Sandbox
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings
from crm_api.workers.campaigns import process_campaign_queue

CAMPAIGNS = "/v1/campaigns"
LONG = "x" * 10_000
HEBREW = "\u05e9\u05dc\u05d5\u05dd"
ARABIC = "\u0645\u0631\u062d\u0628\u0627"
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
LATER = "2126-12-01T10:00:00Z"


@pytest_asyncio.fixture
async def draft(session: AsyncSession) -> dict[str, Any]:
    """Return the request body of a campaign to one contact."""
    line = await make_line(session)
    contact = await make_contact(session)
    await session.commit()
    return {
        "name": "Autumn check",
        "line_id": str(line.id),
        "audience": {"contact_ids": [str(contact.id)]},
        "variants": [{"name": "A", "body": "Hi {{ first_name }}", "weight": 100}],
    }


def raw_json_request(value: object) -> dict[str, Any]:
    """Return request arguments with this JSON body, in which non-ASCII characters are escaped.

    A body with a lone surrogate (half of a UTF-16 pair) cannot be sent in another way.
    """
    return {"content": json.dumps(value), "headers": {"Content-Type": "application/json"}}


def make_variant(body: str, weight: int = 100, name: str = "A") -> dict[str, Any]:
    return {"name": name, "body": body, "weight": weight}


def time_ago(**duration: int) -> str:
    return format_instant(clock.now() - timedelta(**duration))


def faults(answer: httpx.Response) -> dict[str, tuple[str, str]]:
    """Return the faults of a 422 response by JSON pointer; each has a code and a detail."""
    problem = answer.json()
    assert answer.status_code == 422, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == 422
    return {one["pointer"]: (one["code"], one["detail"]) for one in problem["errors"]}


async def save_draft(
    client: httpx.AsyncClient, draft: dict[str, Any], route: str, changes: dict[str, Any]
) -> httpx.Response:
    """Send a draft with these changes to one of three routes: create, change or preview."""
    if route == "change":
        made = await client.post(CAMPAIGNS, json=draft)
        return await client.patch(f"{CAMPAIGNS}/{made.json()['id']}", json=changes)
    path = CAMPAIGNS if route == "create" else f"{CAMPAIGNS}/preview"
    return await client.post(path, json=draft | changes)


ROUTES = ["create", "change", "preview"]
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"schedule": {"window": {"start": "18:00", "end": "09:00"}}},
        "/schedule/window",
        "window: end later in the day",
    ),
    (
        {"schedule": {"window": {"start": "09:00", "end": "09:00"}}},
        "/schedule/window",
        "window: end later in the day",
    ),
    ({"schedule": {"days": []}}, "/schedule/days", "too_short: at least 1 item"),
    (
        {"schedule": {"start_at": LATER, "end_at": LATER}},
        "/schedule/end_at",
        "end_at: later than `start_at`",
    ),
    (
        {"schedule": {"start_grace_hours": 0}},
        "/schedule/start_grace_hours",
        "greater_than_equal: 1",
    ),
    ({"variants": [make_variant("x", 99)]}, "/variants", "weights: to 99, but must add up to 100"),
    (
        {"variants": [make_variant("x", 60), make_variant("y", 60, "B")]},
        "/variants",
        "weights: to 120, but must add up to 100",
    ),
    ({"variants": [make_variant(LONG)]}, "/variants/0/body", "string_too_long: 1600"),
    (
        {"variants": [make_variant("{% if true %}" + LONG + "{% endif %}")]},
        "/variants/0/body",
        "string_too_long: 1600",
    ),
    (
        {"follow_ups": [{"after_hours": 1, "body": LONG}]},
        "/follow_ups/0/body",
        "string_too_long: 1600",
    ),
    ({"rules": {"opt_out_footer": LONG}}, "/rules/opt_out_footer", "string_too_long: 320"),
    ({"name": LONG}, "/name", "string_too_long: 200"),
    ({"variants": [make_variant("\ufeff\u202e")]}, "/variants/0/body", "string_too_short: 1"),
    ({"variants": [make_variant("a\x1bb")]}, "/variants/0/body", "control_character: U+001B"),
    ({"name": "a\nb"}, "/name", "control_character: one line"),
]


@pytest.mark.parametrize(("changes", "pointer", "fault"), REFUSED)
@pytest.mark.parametrize("route", ROUTES)
async def test_fault_is_reported_by_every_route(
    client: httpx.AsyncClient,
    draft: dict[str, Any],
    *,
    route: str,
    changes: dict[str, Any],
    pointer: str,
    fault: str,
) -> None:
    code, sentence = fault.split(": ")

    found = faults(await save_draft(client, draft, route, changes))

    assert list(found) == [pointer]
    assert found[pointer][0] == code
    assert sentence in found[pointer][1]


@pytest.mark.parametrize("route", ROUTES)
async def test_start_in_the_past_is_refused(
    client: httpx.AsyncClient, draft: dict[str, Any], route: str
) -> None:
    late = {"schedule": {"start_at": time_ago(minutes=6)}}

    found = faults(await save_draft(client, draft, route, late))

    code, detail = found["/schedule/start_at"]
    assert (code, "Choose a later instant, or null" in detail) == ("passed", True)


async def test_start_now_is_accepted(client: httpx.AsyncClient, draft: dict[str, Any]) -> None:
    answer = await client.post(
        CAMPAIGNS, json=draft | {"schedule": {"start_at": time_ago(minutes=1)}}
    )

    assert answer.status_code == 201


async def test_draft_with_a_past_start_can_start_after_the_start_is_changed(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    campaign = await make_campaign(
        session,
        line=await make_line(session),
        status="draft",
        audience={"contact_ids": [str(contact.id)]},
        start_at=clock.now() - timedelta(days=1),
    )
    await session.commit()
    path = f"{CAMPAIGNS}/{campaign.id}"

    refused = await client.post(f"{path}/start")
    await client.patch(path, json={"schedule": {"start_at": None}})
    started = await client.post(f"{path}/start")

    assert faults(refused)["/schedule/start_at"][0] == "passed"
    assert (await client.get(path)).json()["status"] == "scheduled"
    assert started.status_code == 200


async def test_hours_that_the_law_never_allows_are_refused_at_start(
    client: httpx.AsyncClient, app: FastAPI, draft: dict[str, Any]
) -> None:
    app.state.crm = replace(app.state.crm, rules=load_rules("us"))
    night = {"schedule": {"window": {"start": "05:00", "end": "07:00"}}}
    made = (await client.post(CAMPAIGNS, json=draft | night)).json()
    path = f"{CAMPAIGNS}/{made['id']}"

    refused = await client.post(f"{path}/start")
    await client.patch(path, json={"schedule": {"window": {"end": "11:00"}}})
    started = await client.post(f"{path}/start")

    code, detail = faults(refused)["/schedule/window"]
    assert (code, "GET /v1/compliance-rules" in detail) == ("never_open", True)
    assert started.status_code == 200


STORED = [
    ("\ufeffa\u202eb", "ab"),
    (f"{HEBREW} {ARABIC} \u200f!", f"{HEBREW} {ARABIC} \u200f!"),
    (FAMILY, FAMILY),
]


@pytest.mark.parametrize(("given", "kept"), STORED)
async def test_text_is_stored_as_it_would_be_sent(
    client: httpx.AsyncClient, draft: dict[str, Any], given: str, kept: str
) -> None:
    request = draft | {
        "name": given,
        "variants": [make_variant(given, name=given)],
        "rules": {"opt_out_footer": given},
        "follow_ups": [{"after_hours": 1, "body": given}],
    }

    made = await client.post(CAMPAIGNS, **raw_json_request(request))

    assert made.status_code == 201, made.text
    read = (await client.get(f"{CAMPAIGNS}/{made.json()['id']}")).json()
    (variant,) = read["variants"]
    assert read["name"] == variant["name"] == variant["body"] == kept
    assert read["rules"]["opt_out_footer"] == read["follow_ups"][0]["body"] == kept


async def test_names_have_one_line_and_bodies_keep_their_lines(
    client: httpx.AsyncClient, draft: dict[str, Any]
) -> None:
    request = draft | {"name": " Autumn check\n", "variants": [make_variant("Hi\r\nyou")]}

    made = (await client.post(CAMPAIGNS, json=request)).json()

    assert made["name"] == "Autumn check"
    assert made["variants"][0]["body"] == "Hi\nyou"


@pytest.mark.parametrize("value", ["a\x00b", "a\ud800b"])
async def test_contact_with_an_invalid_name_is_refused(
    client: httpx.AsyncClient, value: str
) -> None:
    answer = await client.post(
        "/v1/contacts", **raw_json_request({"phone": number(1), "first_name": value})
    )

    assert list(faults(answer)) == ["/first_name"]


@pytest.mark.parametrize("query", ["variant=%00", "cursor=%00", "status=%00", "step=-1"])
async def test_invalid_recipient_filter_is_refused(
    client: httpx.AsyncClient, draft: dict[str, Any], query: str
) -> None:
    made = (await client.post(CAMPAIGNS, json=draft)).json()

    answer = await client.get(f"{CAMPAIGNS}/{made['id']}/recipients?{query}")

    assert list(faults(answer)) == [f"/{query.split('=', maxsplit=1)[0]}"]


NAMES = [
    "{{ business.name }}",
    "{% for i in (1..9) %}{{ first_name }}{% endfor %}",
    "{{ first_name",
    "{% raw %}",
    "%}",
    HEBREW,
    f"{ARABIC} \u200f{FAMILY}",
    '<b>Ada</b> & "Co" \\n $1',
]


@pytest.fixture
def provider_side(sandbox: Sandbox, openphone: OpenPhoneClient) -> tuple[OpenPhoneClient, Any]:
    return openphone, sandbox.workspace.store


async def test_every_name_of_a_contact_is_sent_as_plain_text(
    committed_client: httpx.AsyncClient,
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
    queue: RecordingQueue,
    provider_side: tuple[OpenPhoneClient, Any],
) -> None:
    openphone, store = provider_side
    line = await committed_client.post(
        "/v1/lines",
        json={"phone_number_id": "PNsandbox1", "number": "+16175550100", "name": "Main"},
    )
    people = [
        (
            await committed_client.post(
                "/v1/contacts",
                json={
                    "phone": number(position),
                    "first_name": name,
                    "attributes": {"roof": name},
                },
            )
        ).json()
        for position, name in enumerate(NAMES)
    ]
    made = await committed_client.post(
        CAMPAIGNS,
        json={
            "name": "Autumn check",
            "line_id": line.json()["id"],
            "audience": {"contact_ids": [person["id"] for person in people]},
            "variants": [
                make_variant(f"{HEBREW} {{{{ first_name }}}}: {{{{ attributes.roof }}}}!")
            ],
            "schedule": {
                "window": {"start": "00:00", "end": "24:00"},
                "timezone": far_from_midnight(),
            },
            "pacing": {"mode": "burst", "batch_size": 100, "batch_interval_minutes": 1},
        },
    )
    path = f"{CAMPAIGNS}/{made.json()['id']}"
    preview = (await committed_client.post(f"{path}/preview")).json()

    await committed_client.post(f"{path}/start")
    await process_campaign_queue({"deps": make_deps(settings, committed_uow, queue, openphone)})

    texts = {number(at): f"{HEBREW} {name}: {name}!" for at, name in enumerate(NAMES)}
    assert {sample["phone"]: sample["text"] for sample in preview["samples"]} == texts
    assert {message.to[0]: message.text for message in store.ordered} == texts
    assert (await committed_client.get(path)).json()["status"] == "completed"


@pytest.mark.parametrize("zone", [0, True, {}, [], 1.5])
async def test_time_zone_that_is_not_a_string_is_refused(
    client: httpx.AsyncClient, draft: dict[str, Any], zone: object
) -> None:
    answer = await client.post(CAMPAIGNS, json=draft | {"schedule": {"timezone": zone}})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/schedule/timezone"

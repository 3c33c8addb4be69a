"""Tests of lists as CSV files: complete, safe in a spreadsheet, and accepted by an import."""

import asyncio
import csv
import io
from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import ADMIN_KEY, NOW, UNKNOWN_ID
from tests.factories import make_campaign, make_contact, make_line, make_list, make_member
from tests.routers.imports.test_imports import run

from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.kit import csv_export
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings
from crm_api.routers.http.csv_responses import preference

AS_CSV = {"Accept": "text/csv"}
FORMULAS = ["=cmd()", "+1+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"]


async def export_rows(client: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, str]]:
    answer = await client.get(path, params=query, headers=AS_CSV)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an export read two rows per page, so that a few rows need several pages."""
    monkeypatch.setattr(csv_export, "PAGE", 2)


async def test_contacts_are_written_with_all_their_fields(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada = await make_contact(
        session,
        last_name='O"Brien, jr',
        email="ada@example.com",
        city="Quincy",
        state="MA",
        tags=["vip", "hot"],
        attributes={"roof": "slate", "year built": 1925, "solar": True, "sizes": [1, 2]},
        source="import",
    )
    await make_list(session, name="Homeowners", contacts=[ada])
    await make_list(session, name="Callbacks", contacts=[ada])
    bo = await make_contact(session, phone="+16175550124", first_name="Bo\nBo", now=NOW)
    session.add_all(
        ContactFlag(phone=ada.phone, flag_type=flag, reason=reason, created_at=at, expires_at=end)
        for flag, reason, at, end in (
            ("opted_out", "said STOP", NOW - timedelta(days=1), None),
            ("do_not_contact", None, NOW, None),
            ("vip", None, NOW, None),
            ("opt_out_hold", None, NOW - timedelta(days=9), NOW - timedelta(days=8)),
        )
    )
    await session.commit()

    first, second = await export_rows(client, "/v1/contacts", sort="name")

    assert first == {
        **dict.fromkeys(("company", "street", "postal_code", "country", "timezone"), ""),
        "id": str(bo.id),
        "phone": "+16175550124",
        "first_name": "Bo\nBo",
        **dict.fromkeys(("last_name", "email", "city", "state", "tags", "lists"), ""),
        **dict.fromkeys(("opted_out", "opt_out_hold", "do_not_contact"), "false"),
        **dict.fromkeys(("opted_out_at", "opt_out_reason", "flags"), ""),
        "source": "api",
        "created_at": "2026-11-25T15:00:00.000Z",
        "updated_at": "2026-11-25T15:00:00.000Z",
        **{f"attributes.{name}": "" for name in ("roof", "sizes", "solar", "year built")},
    }
    assert {name: second[name] for name in second if second[name] != first[name]} == {
        "id": str(ada.id),
        "phone": "+16175550123",
        "first_name": "Ada",
        "last_name": 'O"Brien, jr',
        "email": "ada@example.com",
        "city": "Quincy",
        "state": "MA",
        "tags": "vip; hot",
        "lists": "Callbacks; Homeowners",
        "opted_out": "true",
        "opted_out_at": "2026-11-24T15:00:00.000Z",
        "opt_out_reason": "said STOP",
        "do_not_contact": "true",
        "flags": "do_not_contact; opted_out; vip",
        "source": "import",
        "attributes.roof": "slate",
        "attributes.sizes": "[1, 2]",
        "attributes.solar": "true",
        "attributes.year built": "1925",
    }


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, "43210"),
        ({"sort": "created_at"}, "01234"),
        ({"sort": "name"}, "01234"),
        ({"sort": "-updated_at"}, "43210"),
        ({"limit": 1}, "43210"),
        ({"tag": "odd"}, "31"),
        ({"q": "ada0"}, "0"),
        ({"opted_out": "true"}, "4"),
        ({"opted_out": "false", "sort": "name"}, "0123"),
        ({"created_after": "2026-11-25T15:01:30Z"}, "432"),
        ({"tag": "nobody"}, ""),
    ],
)
async def test_all_pages_of_a_filter_are_one_file(
    client: httpx.AsyncClient, session: AsyncSession, query: dict[str, Any], found: str
) -> None:
    for number in range(5):
        await make_contact(
            session,
            phone=f"+1617555010{number}",
            first_name=f"Ada{number}",
            now=NOW + timedelta(minutes=number),
            tags=["odd"] if number % 2 else [],
            attributes={f"only{number}": "x"},
        )
    session.add(ContactFlag(phone="+16175550104", flag_type="opted_out", created_at=NOW))
    await session.commit()

    rows = await export_rows(client, "/v1/contacts", **query)

    assert "".join(row["phone"][-1] for row in rows) == found
    assert all(row[f"attributes.only{row['phone'][-1]}"] == "x" for row in rows)


async def test_formulas_are_neutralised_and_numbers_are_unchanged(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    for number, formula in enumerate(FORMULAS):
        await make_contact(
            session,
            phone=f"+1617555010{number}",
            first_name=formula,
            now=NOW + timedelta(minutes=number),
            tags=[formula],
            attributes={"phone_2": "+16175550199", "=name": formula},
        )
    await session.commit()

    rows = await export_rows(client, "/v1/contacts", sort="created_at")

    assert [row["first_name"] for row in rows] == [f"'{formula}" for formula in FORMULAS]
    assert [row["tags"] for row in rows] == [f"'{formula}" for formula in FORMULAS]
    assert [row["attributes.=name"] for row in rows] == [f"'{formula}" for formula in FORMULAS]
    assert {row["attributes.phone_2"] for row in rows} == {"+16175550199"}
    assert all(row["phone"].startswith("+1617") for row in rows)


async def test_import_of_an_export_changes_nothing(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
) -> None:
    await make_contact(
        session,
        last_name="Rossi",
        company="-Roofs",
        city="Quincy",
        state="MA",
        tags=["vip", "hot"],
        attributes={"roof": "slate", "Year Built": 1925, "phone_2": "+16175550199"},
    )
    await make_contact(session, phone="+16175550124", first_name=None, email="bo@example.com")
    session.add(ContactFlag(phone="+16175550124", flag_type="opted_out", created_at=NOW))
    await session.commit()
    everything = text("SELECT * FROM contact ORDER BY id")
    before = (await session.execute(everything)).all()
    written = (await client.get("/v1/contacts", headers=AS_CSV)).content

    started = await client.post("/v1/imports", files={"file": ("contacts.csv", written)})
    await run(new_uow, settings)

    finished = (await client.get(f"/v1/imports/{started.json()['id']}")).json()
    assert (finished["status"], finished["detected_format"]) == ("completed", "export")
    counts = ("rows_total", "unchanged", "created", "updated", "invalid")
    assert [finished[name] for name in counts] == [2, 2, 0, 0, 0]
    assert {column for column, field in finished["mapping"].items() if field is None} == {
        *("id", "lists", "opted_out_at", "opt_out_reason", "opt_out_hold"),
        *("flags", "source", "created_at", "updated_at"),
    }
    assert finished["mapping"]["attributes.Year Built"] == "attributes.Year Built"
    assert (await session.execute(everything)).all() == before


@pytest.mark.usefixtures("small_pages")
async def test_recipients_are_written_with_their_variants(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign = await make_campaign(
        session, line=await make_line(session), bodies=("Hi STOP", "Ho STOP")
    )
    for number in range(5):
        contact = await make_contact(session, phone=f"+1617555010{number}")
        await make_member(
            session,
            campaign=campaign,
            contact=contact,
            variant=number % 2,
            status="failed" if number == 3 else "delivered",
            error_code="=x" if number == 3 else None,
            sent_at=NOW,
        )
    await session.commit()
    path = f"/v1/campaigns/{campaign.id}/recipients"

    rows = await export_rows(client, path)
    failed = await export_rows(client, path, status="failed", variant="V1")

    assert sorted(row["phone"][-1] for row in rows) == list("01234")
    assert [row["contact_id"] for row in rows] == sorted(row["contact_id"] for row in rows)
    assert {row["variant"] for row in rows} == {"V0", "V1"}
    assert [(row["phone"], row["error_code"], row["sent_at"]) for row in failed] == [
        ("+16175550103", "'=x", "2026-11-25T15:00:00.000Z")
    ]


@pytest.mark.usefixtures("small_pages")
async def test_messages_are_written_newest_first(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    talk = Conversation(line_id=line.id, phone="+16175550123", last_activity_at=NOW, created_at=NOW)
    session.add(talk)
    await session.flush()
    session.add_all(
        Activity(
            kind="message" if number != 2 else "call",
            direction="incoming",
            origin="provider",
            conversation_id=talk.id,
            phone=talk.phone,
            body=f"=text {number}, with a comma",
            status="received",
            occurred_at=NOW + timedelta(seconds=number // 2),
            created_at=NOW,
            updated_at=NOW,
        )
        for number in range(5)
    )
    await session.commit()

    rows = await export_rows(client, f"/v1/conversations/{talk.id}/messages")

    assert rows[0]["body"] == "'=text 4, with a comma"
    assert sorted(row["body"][7] for row in rows) == list("0134")
    assert [row["occurred_at"] for row in rows] == sorted(
        (row["occurred_at"] for row in rows), reverse=True
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/v1/campaigns/{UNKNOWN_ID}/recipients", 404),
        (f"/v1/conversations/{UNKNOWN_ID}/messages", 404),
        ("/v1/contacts?q=--", 422),
        ("/v1/contacts?opted_out=x", 422),
    ],
)
async def test_error_is_returned_before_the_file_starts(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    answer = await client.get(path, headers=AS_CSV)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV; q=0.9, */*; q=0.1", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, text/csv;q=0.6", "text/csv"),
        ("text/csv;q=0, */*", "application/json"),
        ("text/csv;q=0", "application/problem+json"),
        ("text/csv;charset=utf-8", "text/csv"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("text/csv;q=nonsense, ,;", "application/problem+json"),
        ("image/png", "application/problem+json"),
    ],
)
async def test_accept_header_selects_the_format(
    client: httpx.AsyncClient, accept: str | None, kind: str
) -> None:
    client.headers.pop("accept")

    answer = await client.get("/v1/contacts", headers={"Accept": accept} if accept else {})

    assert answer.status_code == (406 if "problem" in kind else 200)
    assert answer.headers["content-type"].partition(";")[0] == kind


def test_most_specific_media_range_has_precedence() -> None:
    assert preference("*/*;q=0.1, text/*;q=0.2, text/csv;q=0.3", "text/csv") == 0.3
    assert preference("*/*;q=0.9, text/*;q=0.2", "text/csv") == 0.2
    assert preference("*/*;q=7", "text/csv") == 1


async def test_csv_needs_a_valid_key(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/contacts", headers={**AS_CSV, "Authorization": "Bearer none"})

    assert answer.status_code == 401


async def test_error_during_the_stream_closes_the_connection(
    app: FastAPI, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prove that a client can detect an incomplete file, because the last chunk is missing."""
    for number in range(5):
        await make_contact(session, phone=f"+1617555010{number}")
    await session.commit()
    monkeypatch.setattr(csv_export, "PAGE", 2)
    sent: list[MutableMapping[str, Any]] = []
    new_uow = app.state.crm.new_uow

    def fail_later() -> Any:
        if any(message.get("body") for message in sent):
            raise RuntimeError("the database went away")
        return new_uow()

    object.__setattr__(app.state.crm, "new_uow", fail_later)

    async def receive() -> dict[str, Any]:
        """Wait forever, like a client that stays connected and sends nothing more."""
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/v1/contacts",
        "raw_path": b"/v1/contacts",
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"crm.test"),
            (b"accept", b"text/csv"),
            (b"authorization", f"Bearer {ADMIN_KEY}".encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("crm.test", 80),
    }
    with pytest.raises(RuntimeError, match="went away"):
        await app(scope, receive, send)

    assert sent[0]["status"] == 200
    assert all(message.get("more_body") for message in sent[1:])


@pytest.mark.usefixtures("small_pages")
async def test_members_of_a_list_are_exported_in_the_order_of_the_list(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    people = [
        await make_contact(
            session, phone=f"+1617555020{number}", attributes={f"field {number}": number}
        )
        for number in range(5)
    ]
    await make_contact(session, phone="+16175550299")
    chosen = await make_list(session, contacts=people)
    await session.commit()
    path = f"/v1/lists/{chosen.id}/contacts"

    rows = await export_rows(client, path)
    listed = (await client.get(path)).json()["data"]

    assert [row["id"] for row in rows] == [one["id"] for one in listed]
    assert len(rows) == 5
    assert {row["lists"] for row in rows} == {"Homeowners"}
    assert [row["attributes.field 3"] for row in rows if row["phone"] == "+16175550203"] == ["3"]


@pytest.mark.usefixtures("small_pages")
async def test_contacts_of_a_segment_are_exported_in_the_order_of_the_list(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    for number in range(6):
        await make_contact(
            session,
            phone=f"+1617555020{number}",
            city="Quincy" if number % 2 else "Boston",
            now=NOW + timedelta(minutes=number),
        )
    await session.commit()
    rule = {"field": "city", "op": "eq", "value": "Quincy"}
    made = await client.post("/v1/segments", json={"name": "Quincy", "filter": rule})
    path = f"/v1/segments/{made.json()['id']}/contacts"

    rows = await export_rows(client, path)

    assert [row["phone"][-1] for row in rows] == ["5", "3", "1"]
    assert [row["id"] for row in rows] == [
        one["id"] for one in (await client.get(path)).json()["data"]
    ]


@pytest.mark.parametrize("kind", ["lists", "segments"])
async def test_unknown_list_is_not_exported(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.get(f"/v1/{kind}/{UNKNOWN_ID}/contacts", headers=AS_CSV)

    assert answer.status_code == 404


async def test_export_of_an_empty_list_has_a_header(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/lists", json={"name": "Empty"})

    answer = await client.get(f"/v1/lists/{made.json()['id']}/contacts", headers=AS_CSV)

    assert answer.text.startswith("id,phone,first_name")
    assert answer.text.count("\n") == 1

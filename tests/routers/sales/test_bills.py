"""Tests of quotes and invoices, and of the outcomes that their states record."""

import asyncio
import csv
import io
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.monitoring.watchdog.support import NewUow, open_alerts
from tests.factories import make_contact, number

from crm_api.domain.monitoring.watchdog import sales
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.sales.billing import bills
from crm_api.domain.sales.billing.bills import QuoteExistsError
from crm_api.domain.sales.billing.schemas import QuoteCreate
from crm_api.domain.sales.outcomes.models import OutcomeSource
from crm_api.domain.sales.outcomes.state_outcomes import Recorder
from crm_api.platform.database import UnitOfWorkFactory

UNKNOWN_BILL = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(name="ada")
async def _create_ada(session: AsyncSession) -> Contact:
    return await make_contact(session, phone=number(1), first_name="Ada")


async def create(
    client: httpx.AsyncClient, ada: Contact, kind: str = "quotes", **values: Any
) -> Any:
    body = {"number": "N-1", "contact_id": str(ada.id), "amount_cents": 1_850_00, **values}
    answer = await client.post(f"/v1/{kind}", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def change(client: httpx.AsyncClient, kind: str, one: Any, **values: Any) -> Any:
    answer = await client.patch(f"/v1/{kind}/{one['id']}", json=values)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def outcomes(session: AsyncSession) -> list[tuple[str, int | None]]:
    """Return kind and amount of all outcomes and reversals, in recorded order."""
    rows = await session.execute(text("SELECT kind, amount_cents FROM outcome ORDER BY id"))
    return [(row.kind, row.amount_cents) for row in rows]


async def test_quote_is_created_read_listed_and_changed(
    client: httpx.AsyncClient, ada: Contact
) -> None:
    one = await create(client, ada)

    assert (one["status"], one["currency"], one["amount_cents"]) == ("draft", "USD", 1_850_00)
    assert one["contact_id"] == str(ada.id)
    answer = await client.get(f"/v1/quotes/{one['id']}")
    assert answer.json() == one
    assert answer.headers["etag"]
    after = await change(client, "quotes", one, number="N-2", amount_cents=5)
    assert (after["number"], after["amount_cents"], after["status"]) == ("N-2", 5, "draft")
    for wanted, count in (
        ({"number": "N-2"}, 1),
        ({"number": "N-1"}, 0),
        ({"status": "draft", "contact_id": str(ada.id)}, 1),
        ({"status": "sent"}, 0),
        ({"created_before": "2020-01-01"}, 0),
    ):
        found = (await client.get("/v1/quotes", params=wanted)).json()["data"]
        assert len(found) == count, wanted


@pytest.mark.parametrize("kind", ["quotes", "invoices"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount_cents", -1),
        ("amount_cents", 1.5),
        ("amount_cents", "5"),
        ("currency", "EUR"),
        ("status", "lost"),
        ("number", ""),
        ("number", "x" * 61),
        ("total", 1),
    ],
)
async def test_wrong_value_is_refused(
    client: httpx.AsyncClient, ada: Contact, kind: str, field: str, value: Any
) -> None:
    body = {"number": "N-1", "contact_id": str(ada.id), "amount_cents": 1, field: value}

    answer = await client.post(f"/v1/{kind}", json=body)

    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == f"/{field}"


@pytest.mark.parametrize(("kind", "name"), [("quotes", "quote"), ("invoices", "invoice")])
async def test_number_is_unique(
    client: httpx.AsyncClient, ada: Contact, kind: str, name: str
) -> None:
    first = await create(client, ada, kind)
    second = await create(client, ada, kind, number="N-2")
    body = {"number": "N-1", "contact_id": str(ada.id), "amount_cents": 1}

    made = await client.post(f"/v1/{kind}", json=body)
    moved = await client.patch(f"/v1/{kind}/{second['id']}", json={"number": "N-1"})

    for answer in (made, moved):
        assert (answer.status_code, answer.json()["code"]) == (409, f"{name}_exists")
        assert answer.json()[f"{name}_id"] == first["id"]
    missing = await client.get(f"/v1/{kind}/{UNKNOWN_BILL}")
    assert (missing.status_code, missing.json()["code"]) == (404, f"{name}_not_found")


async def test_one_of_two_concurrent_quotes_with_the_same_number_is_refused(
    committed_uow: UnitOfWorkFactory,
) -> None:
    async with committed_uow() as uow:
        ada = await make_contact(uow.session, phone=number(1))
        bob = await make_contact(uow.session, phone=number(2))
    recorder = Recorder(name="key", source=OutcomeSource.API, secret=SECRET.encode())

    async def create_for(contact: Contact) -> str:
        body = QuoteCreate(number="N-1", contact_id=contact.id, amount_cents=1)
        try:
            async with committed_uow() as uow:
                await bills.create_bill(uow, bills.QUOTES, body, recorder=recorder, now=NOW)
        except QuoteExistsError:
            return "refused"
        return "created"

    found = await asyncio.gather(create_for(ada), create_for(bob))

    assert sorted(found) == ["created", "refused"]


async def test_each_state_of_a_quote_records_an_outcome_once(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    one = await create(client, ada)
    assert await outcomes(session) == []

    for status in ("sent", "approved", "declined", "approved", "sent"):
        await change(client, "quotes", one, status=status)

    assert await outcomes(session) == [("quote_sent", 185000), ("quote_approved", 185000)]
    listed = (await client.get("/v1/outcomes", params={"contact_id": str(ada.id)})).json()["data"]
    assert {row["external_id"] for row in listed} == {
        f"quote:{one['id']}:sent",
        f"quote:{one['id']}:approved",
    }


@pytest.mark.parametrize(
    ("kind", "status", "recorded"),
    [
        ("quotes", "draft", []),
        ("quotes", "sent", ["quote_sent"]),
        ("quotes", "approved", ["quote_approved"]),
        ("quotes", "declined", []),
        ("invoices", "open", []),
        ("invoices", "paid", ["invoice_paid"]),
        ("invoices", "void", []),
    ],
)
async def test_every_status_is_accepted_at_creation(  # noqa: PLR0917 - fixtures and parameters
    client: httpx.AsyncClient,
    session: AsyncSession,
    ada: Contact,
    kind: str,
    status: str,
    recorded: list[str],
) -> None:
    when = "2026-11-01T12:00:00.000Z"

    one = await create(client, ada, kind, status=status, status_at=when)

    assert (one["status"], one["status_at"]) == (status, when)
    assert [name for name, _ in await outcomes(session)] == recorded


async def test_corrected_amount_reverses_the_outcome_and_records_a_new_outcome(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    one = await create(client, ada, "invoices", status="paid")

    await change(client, "invoices", one, amount_cents=90)
    await change(client, "invoices", one, amount_cents=90)

    assert await outcomes(session) == [
        ("invoice_paid", 185000),
        ("invoice_paid", -185000),
        ("invoice_paid", 90),
    ]


async def test_invoice_that_is_paid_again_after_a_reversal_records_an_outcome_once(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    one = await create(client, ada, "invoices", status="paid")
    wanted = {"contact_id": str(ada.id), "reversed": "false"}
    ids = []

    for _ in range(2):
        counted = (await client.get("/v1/outcomes", params=wanted)).json()["data"]
        assert [row["amount_cents"] for row in counted] == [185000]
        ids.append(counted[0]["id"])
        answer = await client.post(f"/v1/outcomes/{counted[0]['id']}/reverse")
        assert answer.status_code == 201
        # The first `paid` is not a change, so it records nothing. The second one records a new
        # outcome. The third one records nothing.
        for status in ("paid", "open", "paid", "void", "paid"):
            await change(client, "invoices", one, status=status)

    assert len(set(ids)) == 2
    assert await outcomes(session) == [
        ("invoice_paid", 185000),
        ("invoice_paid", -185000),
        ("invoice_paid", 185000),
        ("invoice_paid", -185000),
        ("invoice_paid", 185000),
    ]


async def test_appointment_that_is_held_again_after_a_reversal_records_an_outcome(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    body = {
        "contact_id": str(ada.id),
        "starts_at": "2026-12-01T14:00:00Z",
        "ends_at": "2026-12-01T15:00:00Z",
    }
    one = (await client.post("/v1/appointments", json=body)).json()
    await change(client, "appointments", one, status="held")
    held = {"kind": "appointment_held"}
    first = (await client.get("/v1/outcomes", params=held)).json()["data"][0]
    await client.post(f"/v1/outcomes/{first['id']}/reverse")

    for status in ("no_show", "booked", "held"):
        await change(client, "appointments", one, status=status)

    kinds = [kind for kind, _ in await outcomes(session)]
    assert kinds == ["appointment_booked", *["appointment_held"] * 3]


async def test_states_of_an_appointment_record_outcomes_once(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    body = {
        "contact_id": str(ada.id),
        "starts_at": "2026-12-01T14:00:00Z",
        "ends_at": "2026-12-01T15:00:00Z",
    }
    one = (await client.post("/v1/appointments", json=body)).json()
    for status in ("cancelled", "booked", "held", "no_show", "held"):
        await change(client, "appointments", one, status=status)

    assert await outcomes(session) == [("appointment_booked", None), ("appointment_held", None)]


async def test_refused_outcome_leaves_the_state_unchanged(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    one = await create(client, ada)
    await client.delete(f"/v1/contacts/{ada.id}")

    answer = await client.patch(f"/v1/quotes/{one['id']}", json={"status": "sent"})

    assert (answer.status_code, answer.json()["code"]) == (404, "contact_not_found")
    assert (await client.get(f"/v1/quotes/{one['id']}")).json()["status"] == "draft"
    assert await outcomes(session) == []


async def test_merge_moves_quotes_and_invoices_and_its_undo_returns_them(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    duplicate = await make_contact(session, phone=number(2))
    for kind in ("quotes", "invoices"):
        await create(client, duplicate, kind)
    body = {"primary_id": str(ada.id), "duplicate_ids": [str(duplicate.id)]}
    merge = (await client.post("/v1/contacts/merge", json=body)).json()

    async def owners() -> list[str]:
        answers = [await client.get(f"/v1/{kind}") for kind in ("quotes", "invoices")]
        return [answer.json()["data"][0]["contact_id"] for answer in answers]

    assert await owners() == [str(ada.id)] * 2
    await client.post(f"/v1/contact-merges/{merge['merge_id']}/undo")
    assert await owners() == [str(duplicate.id)] * 2


async def test_erasure_keeps_the_amounts_without_the_person(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    one = await create(client, ada, status="sent")
    two = await create(client, ada, "invoices", status="paid")

    await client.post(f"/v1/contacts/{ada.id}/erase", json={"reason": "asked"})

    quote = (await client.get(f"/v1/quotes/{one['id']}")).json()
    invoice = (await client.get(f"/v1/invoices/{two['id']}")).json()
    assert (quote["contact_id"], quote["amount_cents"]) == (None, 185000)
    assert (invoice["contact_id"], invoice["amount_cents"]) == (None, 185000)
    assert await outcomes(session) == [("quote_sent", 185000), ("invoice_paid", 185000)]
    after = await change(client, "quotes", one, status="approved")
    assert after["status"] == "approved"
    assert len(await outcomes(session)) == 2


async def test_approved_quote_without_appointment_for_two_days_raises_an_alert(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: NewUow, ada: Contact
) -> None:
    one = await create(client, ada, status="approved")
    now = await session.scalar(text("SELECT now()"))

    async def check_after(days: float) -> dict[str, str]:
        async with new_uow() as uow:
            await sales.check_quotes(uow, now=now + timedelta(days=days))
        return await open_alerts(new_uow)

    assert await check_after(1.9) == {}
    found = await check_after(2.1)
    assert list(found) == ["quote_unscheduled"]
    assert "N-1" in found["quote_unscheduled"]
    body = {
        "contact_id": str(ada.id),
        "starts_at": (now + timedelta(days=5)).isoformat(),
        "ends_at": (now + timedelta(days=5, hours=1)).isoformat(),
    }
    visit = (await client.post("/v1/appointments", json=body)).json()
    assert await check_after(2.2) == {}
    await change(client, "appointments", visit, status="cancelled")
    assert list(await check_after(2.3)) == ["quote_unscheduled"]
    await change(client, "quotes", one, status="declined")
    assert await check_after(2.4) == {}


@pytest.mark.parametrize("kind", ["quotes", "invoices"])
async def test_list_is_also_a_table(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact, kind: str
) -> None:
    await create(client, ada, kind, number="=1+1")
    await create(client, ada, kind, number="N-2")
    await session.commit()

    answer = await client.get(f"/v1/{kind}", headers={"Accept": "text/csv"})

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["number"] for row in rows] == ["N-2", "'=1+1"]
    assert (rows[0]["amount_cents"], rows[0]["contact_id"]) == ("185000", str(ada.id))
    assert answer.headers["content-type"].startswith("text/csv")

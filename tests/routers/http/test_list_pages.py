"""The pages of each list of the API contain each row once, in the order of the whole list."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from benchmarks.statements import StatementCounter
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import store
from tests.domain.outbound.web_push.push_service import Browser
from tests.factories import make_campaign, make_contact, make_line, make_list, make_member, number
from tests.routers.conftest import CountingStream
from tests.routers.http.test_cursors import list_paths
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.inbound.webhook_health.models import WebhookHealthCheck
from crm_api.domain.kit import csv_export, csv_models
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.media import MediaFetch
from crm_api.domain.messaging.models.number_failures import ProviderStop
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.monitoring.scheduled_jobs.models import WorkerHeartbeat
from crm_api.domain.outbound.webhook_deliveries.models import WebhookDelivery
from crm_api.domain.people.deduplication import candidates
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

SANDBOX_LISTS = {"/v1/sandbox/people", "/v1/sandbox/faults"}
"""Lists that need a running sandbox.

They are not tested here, but in `tests/routers/monitoring/test_sandbox.py`.
"""
ROWS = 3
NEWEST_FIRST = {
    "/v1/campaigns",
    "/v1/custom-fields",
    "/v1/do-not-contact-uploads",
    "/v1/erasures",
    "/v1/imports",
    "/v1/lists",
    "/v1/phone-validations",
    "/v1/properties",
    "/v1/push-subscriptions",
    "/v1/reconciliation-runs",
    "/v1/saved-replies",
    "/v1/saved-views",
    "/v1/segments",
    "/v1/templates",
    "/v1/webhook-endpoints",
    "/v1/webhook-health-checks",
}
"""Lists that are sorted by id, newest first, because a newer id is larger.

The order of the other lists is checked by their own tests.
"""


class ListRows:
    """Helper that adds rows, so that each list of the API has at least `ROWS` rows."""

    def __init__(
        self, client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
    ) -> None:
        self._client = client
        self._session = session
        self._new_uow = new_uow

    async def fill(self) -> dict[str, str]:
        """Add the rows; return an id for each path parameter of the lists."""
        ids = await self._add_rows_of_messaging()
        ids |= await self._add_people()
        ids["endpoint_id"] = await self._add_webhooks()
        await self._add_runs(ids["conversation_id"])
        await self._add_access()
        await self._session.commit()
        return ids

    async def _post(self, path: str, body: object = None, **parts: Any) -> str:
        answer = await self._client.post(path, json=body, **parts)
        assert answer.is_success, answer.text
        return str(answer.json().get("id")) if answer.content else ""

    async def _line(self) -> str:
        return str((await self._client.get("/v1/lines")).json()["data"][0]["id"])

    async def _add_people(self) -> dict[str, str]:
        session = self._session
        everyone = [
            await make_contact(
                session, phone=number(100 + place), tags=["vip", f"tag{place}"], email="a@b.example"
            )
            for place in range(ROWS)
        ]
        contact_list = await make_list(session, contacts=everyone)
        await session.commit()
        async with self._new_uow() as uow:
            await candidates.find_candidates(uow, now=NOW, clock=lambda: NOW)
        ada = str(everyone[0].id)
        vip = {"field": "tags", "op": "contains", "value": "vip"}
        segment = ""
        for place, flag in enumerate(("do_not_contact", "office_number", "opted_out")):
            await self._post("/v1/lists", {"name": f"List {place}"})
            segment = await self._post("/v1/segments", {"name": f"Tag {place}", "filter": vip})
            await self._post("/v1/custom-fields", {"name": f"field_{place}", "type": "text"})
            await self._post("/v1/templates", {"name": f"Template {place}", "body": "Hi"})
            await self._post("/v1/saved-replies", {"name": f"Reply {place}", "body": "Hi"})
            await self._post(f"/v1/contacts/{ada}/flags", {"flag": flag})
            reason = {"reason": f"said so, {place}"}
            await self._post(f"/v1/contacts/{ada}/{('opt-out', 'opt-in')[place % 2]}", reason)
            await self._post(f"/v1/contacts/{ada}/notes", {"body": f"Note {place}"})
            when = {"starts_at": f"2026-12-0{place + 1}T15:00Z", "contact_id": ada}
            await self._post(
                "/v1/appointments", {**when, "ends_at": f"2026-12-0{place + 1}T16:00Z"}
            )
            await self._post("/v1/calendar-feeds", {"name": f"Feed {place}"})
            bill = {"number": f"N-{place}", "contact_id": ada, "amount_cents": 100}
            await self._post("/v1/quotes", bill)
            await self._post("/v1/invoices", bill)
            rule = {"name": "Day", "line_id": await self._line(), "body": "Hi", "hours_before": 1}
            await self._post("/v1/reminder-rules", rule)
            account = {"name": "Visits", "url": f"https://dav.example.com/{place}/"}
            account |= {"username": "olga", "password": "abcd-efgh"}
            await self._post("/v1/calendar-accounts", account)
            await self._post("/v1/tasks", {"title": f"Call {place}", "due_at": "2026-12-01T15:00Z"})
            outcome = {"kind": "job_done", "occurred_at": f"2026-11-2{place}T15:00Z"}
            await self._post("/v1/outcomes", {**outcome, "phone": number(900)})
            await self._post("/v1/costs", {"kind": "other", "amount_cents": 100 + place})
            year = clock.now().year + 1 + place
            period = {"from": f"{year}-01-01", "until": f"{year}-12-31"}
            await self._post("/v1/holdouts", {"name": "Plan", "percent": 10, **period})
            await self._post("/v1/attribution-rules", {"model": "linear"})
            address = {"street": f"{place + 1} Main Street", "postal_code": "02169"}
            await self._post(
                "/v1/properties", {"address": address, "contacts": [{"contact_id": ada}]}
            )
            other = await make_contact(session, phone=number(200 + place))
            gone = await make_contact(session, phone=number(300 + place))
            await session.commit()
            merged = {"primary_id": str(other.id), "duplicate_ids": [str(gone.id)]}
            await self._post("/v1/contacts/merge", merged)
            erased = await make_contact(session, phone=number(400 + place))
            await session.commit()
            await self._post(f"/v1/contacts/{erased.id}/erase", {"reason": "asked by letter"})
        return {"contact_id": ada, "list_id": str(contact_list.id), "segment_id": segment}

    async def _add_rows_of_messaging(self) -> dict[str, str]:
        session = self._session
        people = [await make_contact(session, phone=number(place)) for place in range(ROWS)]
        for place in range(ROWS):
            line = await make_line(
                session, phone_number_id=f"PN{place}", line_number=number(500 + place)
            )
            campaign = await make_campaign(session, line=line, status="draft")
        for person in people:
            await make_member(session, campaign=campaign, contact=person)
        conversations = [
            Conversation(line_id=line.id, phone=one.phone, last_activity_at=NOW, created_at=NOW)
            for one in people
        ]
        session.add_all(conversations)
        await session.flush()
        for place, kind in enumerate(["message"] * ROWS + ["call"] * ROWS):
            row = Activity(
                kind=kind,
                direction="incoming",
                origin="provider",
                line_id=line.id,
                conversation_id=conversations[0].id,
                phone=conversations[0].phone,
                openphone_id=f"AC{place}",
                body="Hello",
                status="received" if kind == "message" else "completed",
                occurred_at=NOW + timedelta(seconds=place // 2),
                created_at=NOW,
                updated_at=NOW,
            )
            session.add(row)
            await session.flush()
            url = f"https://media.example.com/{place}.jpeg"
            stamps = {"next_attempt_at": NOW, "created_at": NOW, "updated_at": NOW}
            session.add(MediaFetch(activity_id=row.id, kind="picture", url=url, **stamps))
            stop = {"phone": number(600 + place), "line_id": line.id, "message_id": row.id}
            stamps = {"first_failed_at": NOW, "last_failed_at": NOW}
            stamps |= {"created_at": NOW, "updated_at": NOW}
            session.add(ProviderStop(code="21610", **stop, **stamps))
        await session.commit()
        return {"campaign_id": str(campaign.id), "conversation_id": str(conversations[0].id)}

    async def _add_webhooks(self) -> str:
        endpoint = ""
        for place in range(ROWS):
            event = {"id": f"EV{place}", "type": "call.ringing"}
            await store(self._session, event, status="dead", error_code=f"error_{place}")
            endpoint = await self._post(
                "/v1/webhook-endpoints", {"url": f"https://hooks.example.com/{place}"}
            )
        self._session.add_all(
            WebhookDelivery(
                endpoint_id=endpoint,
                type="opt_out",
                happened_at=NOW,
                data={"contact_id": str(new_id())},
                next_attempt_at=NOW,
                created_at=NOW,
            )
            for _ in range(ROWS)
        )
        return endpoint

    async def _add_runs(self, conversation_id: str) -> None:
        contact = await make_contact(self._session, phone=number(700))
        await self._session.commit()
        upload = {"file": ("people.csv", f"phone\n{number(800)}\n".encode(), "text/csv")}
        for place in range(ROWS):
            await self._post("/v1/imports", files=upload)
            await self._post(
                f"/v1/conversations/{conversation_id}/notes", {"body": f"Note {place}"}
            )
            await self._post("/v1/do-not-contact-uploads", files=upload)
            await self._post("/v1/phone-validations", {"contact_ids": [str(contact.id)]})
            await self._post("/v1/reconciliation-runs")
            self._session.add(
                WebhookHealthCheck(side="silence", status="failed", asked_by="key", created_at=NOW)
            )
            async with self._new_uow() as uow:
                await alerts.raise_alert(
                    uow,
                    kind=AlertKind.LINE_BLOCKED,
                    subject=f"Line {place}",
                    detail="Pay the provider's bill.",
                    context={},
                    now=NOW,
                )
            self._session.add(WorkerHeartbeat(id=new_id(), started_at=NOW, seen_at=NOW))

    async def _add_access(self) -> None:
        for place in range(ROWS):
            key = {"name": f"Key {place}", "scopes": ["contacts:read"]}
            await self._post("/v1/api-keys", key)
            user = {"email": f"user{place}@granite.example.com", "name": "Olga", "role": "agent"}
            await create_active_user(self._client, **user)
            view = {"list": "tasks", "name": f"View {place}", "filter": {"status": "open"}}
            await self._post("/v1/saved-views", view)
            endpoint = f"https://push.example.com/{place}"
            device = {"endpoint": endpoint, "keys": Browser().keys()}
            await self._post("/v1/push-subscriptions", device)


async def read_pages(
    client: httpx.AsyncClient, path: str, *, limit: int
) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield the rows of each page."""
    params: dict[str, Any] = {"limit": limit}
    while True:
        page = (await client.get(path, params=params)).json()
        yield page["data"]
        if page["next_cursor"] is None:
            return
        params["cursor"] = page["next_cursor"]


async def test_pages_of_every_list_hold_each_row_once_and_in_order(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await create_active_user(client, role="owner")
    client.headers.update(bearer(await sign_in(client)))
    ids = await ListRows(client, session, new_uow).fill()

    for path in set(await list_paths(client)) - SANDBOX_LISTS:
        url = path.format_map(ids)
        unpaged = (await client.get(url, params={"limit": 200})).json()
        pages = [rows async for rows in read_pages(client, url, limit=2)]

        assert unpaged["next_cursor"] is None, path
        assert len(unpaged["data"]) >= ROWS, path
        assert [row for rows in pages for row in rows] == unpaged["data"], path
        assert [len(rows) for rows in pages[:-1]] == [2] * (len(pages) - 1), path
        if path in NEWEST_FIRST:
            found = [row["id"] for row in unpaged["data"]]
            assert found == sorted(found, reverse=True), path


CSV_LISTS = {
    "/v1/appointments",
    "/v1/attribution-rules",
    "/v1/calendar-accounts",
    "/v1/calendar-feeds",
    "/v1/campaigns",
    "/v1/campaigns/{campaign_id}/recipients",
    "/v1/contacts",
    "/v1/conversations",
    "/v1/conversations/{conversation_id}/messages",
    "/v1/conversations/{conversation_id}/notes",
    "/v1/costs",
    "/v1/holdouts",
    "/v1/invoices",
    "/v1/lists/{list_id}/contacts",
    "/v1/messages",
    "/v1/outcomes",
    "/v1/quotes",
    "/v1/saved-replies",
    "/v1/saved-views",
    "/v1/segments/{segment_id}/contacts",
    "/v1/tasks",
    "/v1/templates",
}
"""Lists with pages that also return CSV."""


async def test_csv_of_every_list_holds_the_rows_of_its_pages_in_order(
    client: httpx.AsyncClient,
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(csv_export, "PAGE", 2)
    monkeypatch.setattr(csv_models, "PAGE", 2)
    await create_active_user(client, role="owner")
    client.headers.update(bearer(await sign_in(client)))
    ids = await ListRows(client, session, new_uow).fill()
    documented = (await client.get("/openapi.json")).json()["paths"]
    paths = set(await list_paths(client)) - SANDBOX_LISTS
    content = {path: documented[path]["get"]["responses"]["200"]["content"] for path in paths}

    assert {path for path in paths if "text/csv" in content[path]} == CSV_LISTS
    for path in CSV_LISTS:
        url = path.format_map(ids)
        listed = (await client.get(url, params={"limit": 200})).json()["data"]
        # The parameters of the page have no effect on a CSV file.
        answer = await client.get(url, params={"limit": 1}, headers={"Accept": "text/csv"})

        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        example = next(csv.reader(io.StringIO(content[path]["text/csv"]["example"])))
        key = "version" if path == "/v1/attribution-rules" else "id"
        assert answer.headers["content-type"] == "text/csv; charset=utf-8", path
        assert answer.headers["content-disposition"].endswith('.csv"'), path
        assert [row[key] for row in rows] == [str(one[key]) for one in listed], path
        assert all(None not in row and None not in row.values() for row in rows), path
        shown, promised = (
            [name for name in names if not name.startswith("attributes.")]
            for names in (rows[0], example)
        )
        assert shown == promised, path


EXTRA_STATEMENTS = {"/v1/messages": 1, "/v1/holdouts": 6}
"""How many more statements a full page may run than a page of one row, by path.

`/v1/messages` runs a second statement if the newest messages do not fill the page. `/v1/holdouts`
runs three statements for the result of each holdout.
"""
MOST_STATEMENTS = 6
"""Largest number of statements for a page of one row, including the authentication."""


async def test_page_of_every_list_runs_few_statements_and_writes_one_log_line(
    client: httpx.AsyncClient,
    session: AsyncSession,
    engine: AsyncEngine,
    new_uow: UnitOfWorkFactory,
    stream: CountingStream,
) -> None:
    await create_active_user(client, role="owner")
    client.headers.update(bearer(await sign_in(client)))
    ids = await ListRows(client, session, new_uow).fill()

    async def page(url: str, *, limit: int) -> dict[str, int]:
        await asyncio.sleep(0)
        lines = len(stream.getvalue().splitlines())
        counter = StatementCounter(engine)
        answer = await client.get(url, params={"limit": limit})
        counter.close()
        await asyncio.sleep(0)
        assert len(stream.getvalue().splitlines()) - lines == 1, url
        assert len(answer.json()["data"]) >= min(limit, ROWS), url
        # Savepoints are not included, because only the transaction of the test creates them.
        return {
            name: count
            for name, count in counter.counts.items()
            if not name.startswith(("savepoint", "release"))
        }

    for path in set(await list_paths(client)) - SANDBOX_LISTS:
        url = path.format_map(ids)
        await page(url, limit=1)
        one, many = await page(url, limit=1), await page(url, limit=200)

        assert sum(many.values()) - sum(one.values()) <= EXTRA_STATEMENTS.get(path, 0), path
        assert sum(one.values()) <= MOST_STATEMENTS, (path, one)
        assert not any(name.startswith(("insert", "update", "delete")) for name in many), path

"""Decisions are dated by the clock of the database, not by the clock of the web host."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    flags,
    incoming,
    store,
)
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory

HOURS = timedelta(hours=2)
OTHER_NUMBER = number(1)
REASON = {"reason": "by phone"}
CAMPAIGN = {
    "name": "Winter check",
    "line_id": "{line}",
    "audience": {"contact_ids": ["{id}"]},
    "variants": [{"name": "A", "body": "Hi", "weight": 100}],
}
CALLS = [
    ("POST", "/v1/contacts/{id}/opt-out", REASON),
    ("POST", "/v1/contacts/{id}/opt-in", REASON),
    ("POST", "/v1/contacts/{id}/flags", {"flag": "opted_out"}),
    ("POST", "/v1/contacts/{id}/flags", {"flag": "opt_out_hold"}),
    ("POST", "/v1/contacts/{id}/flags", {"flag": "do_not_contact"}),
    ("POST", "/v1/contacts/opt-out", {**REASON, "phones": [PERSON]}),
    ("POST", "/v1/contacts/{id}/erase", REASON),
    ("POST", "/v1/campaigns", CAMPAIGN),
    ("PATCH", "/v1/campaigns/{draft}", {"name": "Spring check"}),
    ("POST", "/v1/campaigns/{draft}/start", {}),
    ("POST", "/v1/campaigns/{draft}/clone", {}),
    ("POST", "/v1/campaigns/{running}/pause", {}),
    ("POST", "/v1/campaigns/{paused}/resume", {}),
    ("POST", "/v1/campaigns/{running}/cancel", {}),
    ("POST", "/v1/campaigns/{running}/test-send", {"to": OWN_NUMBER}),
    ("POST", "/v1/campaigns/{running}/recipients/{id}/settle", {"outcome": "sent"}),
    ("POST", "/v1/lines", {"phone_number_id": "PN9", "number": number(9), "name": "Second"}),
    ("PATCH", "/v1/lines/{line}", {"daily_limit": 20}),
    ("POST", "/v1/lines/{line}/unblock", {}),
    ("PATCH", "/v1/settings", {"test_numbers": [OTHER_NUMBER]}),
    ("POST", "/v1/reconciliation-runs", {}),
]
DATES = """
    SELECT occurred_at AS at FROM consent_entry
    UNION ALL SELECT created_at FROM consent_entry
    UNION ALL SELECT created_at FROM contact_flag WHERE reason IS DISTINCT FROM 'before'
    UNION ALL SELECT erased_at FROM erased_number
    UNION ALL SELECT created_at FROM campaign
    UNION ALL SELECT started_at FROM campaign
    UNION ALL SELECT finished_at FROM campaign
    UNION ALL SELECT updated_at FROM campaign
    UNION ALL SELECT updated_at FROM campaign_membership
    UNION ALL SELECT created_at FROM line
    UNION ALL SELECT updated_at FROM line
    UNION ALL SELECT updated_at FROM send_attempt
    UNION ALL SELECT created_at FROM activity
    UNION ALL SELECT occurred_at FROM activity
    UNION ALL SELECT updated_at FROM activity
    UNION ALL SELECT updated_at FROM company_settings
    UNION ALL SELECT created_at FROM reconciliation_run
    UNION ALL SELECT until FROM reconciliation_run
    UNION ALL SELECT created_at FROM contact_import
    UNION ALL SELECT updated_at FROM contact_import
"""


@contextmanager
def host_clock(error: timedelta) -> Iterator[None]:
    """Simulate a wrong host clock: it differs by `error` until the ``with`` block ends."""
    clock.move(error)
    try:
        yield
    finally:
        clock.move(timedelta(0))


async def dates(session: AsyncSession) -> set[datetime]:
    found = await session.execute(text(DATES))
    return {at for at in found.scalars() if at is not None}


async def make_rows(session: AsyncSession) -> dict[str, Any]:
    """Create the rows to which the requests refer; return values for the placeholders."""
    contact = await make_contact(session, phone=PERSON)
    blocked: dict[str, Any] = {"status": "blocked", "blocked_reason": "no_credits"}
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=number(7), **blocked)
    sender = await make_line(session, phone_number_id="PN8", line_number=OTHER_NUMBER)
    await make_line(session, phone_number_id="PN7", line_number=OWN_NUMBER)
    made: dict[str, Any] = {"id": contact.id, "line": line.id}
    for status in ("draft", "running", "paused"):
        campaign = await make_campaign(
            session,
            line=sender,
            status=status,
            audience={"contact_ids": [str(contact.id)]},
            name=status,
        )
        made[status] = campaign.id
        if status == "running":
            member = await make_member(
                session, campaign=campaign, contact=contact, status="unknown"
            )
            message = Activity(
                kind="message",
                direction="outgoing",
                origin="campaign",
                line_id=sender.id,
                contact_id=contact.id,
                phone=PERSON,
                status="unknown",
                occurred_at=NOW,
                created_at=NOW,
                updated_at=NOW,
            )
            session.add(message)
            await session.flush()
            session.add(
                SendAttempt(
                    membership_id=member.id,
                    campaign_id=campaign.id,
                    line_id=sender.id,
                    activity_id=message.id,
                    phone=PERSON,
                    body="Hi",
                    status="parked",
                    called_at=NOW,
                    created_at=NOW,
                    updated_at=NOW,
                )
            )
    await session.commit()
    return made


def fill_ids(value: Any, made: dict[str, Any]) -> Any:
    """Replace placeholders such as ``{id}`` in a path or a body by the values of ``made``."""
    if isinstance(value, str):
        return value.format_map(made) if "{" in value else value
    if isinstance(value, list):
        return [fill_ids(one, made) for one in value]
    if isinstance(value, dict):
        return {name: fill_ids(one, made) for name, one in value.items()}
    return value


@pytest.mark.parametrize("error", [-HOURS, HOURS], ids=["slow", "fast"])
@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_decision_is_dated_by_the_database(
    client: httpx.AsyncClient,
    session: AsyncSession,
    *,
    error: timedelta,
    method: str,
    path: str,
    body: dict[str, Any],
) -> None:
    made = await make_rows(session)
    if path.endswith("/erase"):
        await session.execute(text("UPDATE send_attempt SET status = 'sent', accepted_at = now()"))
        await session.commit()
    before = await dates(session)
    begun = datetime.now(UTC)

    with host_clock(error):
        answer = await client.request(method, fill_ids(path, made), json=fill_ids(body, made))

    assert answer.status_code < 300, answer.text
    found = await dates(session) - before
    assert found
    assert all(begun <= at <= datetime.now(UTC) for at in found), found


@pytest.mark.parametrize("error", [-HOURS, HOURS], ids=["slow", "fast"])
async def test_import_is_dated_by_the_database(
    client: httpx.AsyncClient, session: AsyncSession, error: timedelta
) -> None:
    begun = datetime.now(UTC)
    files = {"file": ("people.csv", f"phone\n{PERSON}\n".encode(), "text/csv")}

    with host_clock(error):
        made = (await client.post("/v1/imports", files=files)).json()
        cancelled = await client.post(f"/v1/imports/{made['id']}/cancel")

    assert cancelled.status_code == 200, cancelled.text
    found = await dates(session)
    assert len(found) > 1
    assert all(begun <= at <= datetime.now(UTC) for at in found), found


@pytest.mark.parametrize("error", [-HOURS, HOURS], ids=["slow", "fast"])
async def test_merge_is_dated_by_the_database(
    client: httpx.AsyncClient, session: AsyncSession, error: timedelta
) -> None:
    ada = await make_contact(session, phone=PERSON)
    twin = await make_contact(session, phone=OTHER_NUMBER)
    await client.post(f"/v1/contacts/{twin.id}/opt-out", json=REASON)
    begun = datetime.now(UTC)

    with host_clock(error):
        await client.post(
            "/v1/contacts/merge",
            json={"primary_id": str(ada.id), "duplicate_ids": [str(twin.id)]},
        )

    query = text("SELECT occurred_at FROM consent_entry ORDER BY id DESC LIMIT 1")
    shared_at = (await session.execute(query)).scalar_one()
    assert begun <= shared_at <= datetime.now(UTC)


async def receive_message(session: AsyncSession, new_uow: UnitOfWorkFactory, words: str) -> None:
    """Store an event of a message that is received now, and apply the event."""
    received_at = datetime.now(UTC)
    payload = incoming(words, message_id=f"AC {words}", createdAt=received_at.isoformat())
    await store(session, payload, now=received_at)
    async with new_uow() as uow:
        now = await uow.database_now()
        await webhooks.apply_batch(uow, limit=10, now=now, apply_settings=APPLY_SETTINGS)


@pytest.mark.parametrize("error", [-HOURS, HOURS], ids=["slow", "fast"])
async def test_stop_after_an_opt_in_by_a_host_with_a_wrong_clock_counts(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory, error: timedelta
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    contact = await make_contact(session, phone=PERSON)
    with host_clock(error):
        await client.post(f"/v1/contacts/{contact.id}/opt-in", json=REASON)

    await receive_message(session, new_uow, "STOP")

    assert await flags(session) == ["opted_out"]


@pytest.mark.parametrize("error", [-HOURS, HOURS], ids=["slow", "fast"])
async def test_opt_out_after_a_start_by_a_host_with_a_wrong_clock_counts(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory, error: timedelta
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    contact = await make_contact(session, phone=PERSON)
    await receive_message(session, new_uow, "START")

    with host_clock(error):
        await client.post(f"/v1/contacts/{contact.id}/opt-out", json=REASON)

    assert await flags(session) == ["opted_out"]


@pytest.mark.parametrize("error", [-HOURS, HOURS], ids=["slow", "fast"])
async def test_host_with_a_wrong_clock_can_remove_a_flag(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory, error: timedelta
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    contact = await make_contact(session, phone=PERSON)
    await receive_message(session, new_uow, "STOP")

    with host_clock(error):
        await client.delete(f"/v1/contacts/{contact.id}/flags/opted_out")

    assert await flags(session) == []

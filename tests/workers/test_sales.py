"""Tests of the jobs of appointments and calendars."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from tests.factories import make_contact, make_line, number

from crm_api.domain.kit.addresses import ANY_PORT, AddressPolicy
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.sales.appointments import booking
from crm_api.domain.sales.calendar_accounts import service
from crm_api.domain.sales.calendar_accounts.schemas import CalendarAccountCreate
from crm_api.domain.sales.reminders import rules
from crm_api.domain.sales.reminders.schemas import ReminderRuleCreate
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id
from crm_api.workers.sales import send_reminders, sync_calendars


async def test_job_sends_due_reminders_once(
    ctx: dict[str, Any], committed_uow: UnitOfWorkFactory
) -> None:
    now = clock.now()
    starts_at = now + timedelta(hours=23)
    async with committed_uow() as uow:
        line = await make_line(uow.session)
        ada = await make_contact(uow.session, phone=number(1))
        body = ReminderRuleCreate(name="Day", line_id=line.id, body="Soon", hours_before=24)
        await rules.create_rule(uow, body, author="key", now=now - timedelta(days=9))
        await booking.insert_appointment(
            uow,
            {
                "id": new_id(),
                "contact_id": ada.id,
                "property_id": None,
                "kind": "repair",
                "starts_at": starts_at,
                "ends_at": starts_at + timedelta(hours=1),
                "timezone": "UTC",
                "assignee_id": None,
                "status": "booked",
                "author": "key",
                "created_at": now - timedelta(days=9),
                "updated_at": now,
            },
            allow_conflict=False,
        )

    assert await send_reminders(ctx) == {"queued": 1}
    assert await send_reminders(ctx) == {}

    async with committed_uow() as uow:
        bodies = list(await uow.session.scalars(select(Activity.body)))
    assert bodies == ["Soon"]


@pytest.mark.parametrize("is_lost", [False, True])
async def test_job_stores_the_reason_why_a_calendar_fails(
    ctx: dict[str, Any], committed_uow: UnitOfWorkFactory, *, is_lost: bool
) -> None:
    """Use a server that is unreachable (port 1), or a password that cannot be decrypted."""
    body = CalendarAccountCreate(
        name="Visits",
        url="http://127.0.0.1:1/visits/",
        username="olga",
        password=SecretStr("abcd-efgh"),
    )
    loopback = AddressPolicy(ports=ANY_PORT, loopback_ports=ANY_PORT)
    async with committed_uow() as uow:
        await service.create_account(
            uow, body, author="key", policy=loopback, key=ctx["deps"].secret, now=clock.now()
        )
        if is_lost:
            await uow.session.execute(text("UPDATE calendar_account SET sealed = '\\x01'"))

    await sync_calendars(ctx)

    async with committed_uow() as uow:
        page = await service.list_accounts(uow, cursor=None, limit=1)
    account = page.data[0]
    expected = "cannot be decrypted" if is_lost else "cannot be reached"
    assert (account.status, account.failures) == ("failing", 1)
    assert expected in (account.error or "")
    assert account.next_sync_at > clock.now()

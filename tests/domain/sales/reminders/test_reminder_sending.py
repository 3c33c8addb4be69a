"""Reminders of appointments are sent when due, unless a rule stops them."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import select, text
from tests.conftest import NOW, SECRET
from tests.domain.messaging.sends.ledger import BUSINESS, TIMES
from tests.factories import make_contact, make_line, number

from crm_api.domain.consent.legal_rules.rules import NO_RULES, RuleBook, load_rules
from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends.queued_claim import claim_queued
from crm_api.domain.people.contacts.changes import delete_contact
from crm_api.domain.sales.appointments import booking
from crm_api.domain.sales.reminders import rules, sending
from crm_api.domain.sales.reminders.models import AppointmentReminder
from crm_api.domain.sales.reminders.rules import InvalidReminderError
from crm_api.domain.sales.reminders.schemas import ReminderRuleCreate, ReminderRuleUpdate
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

# NOW is 10:00 in New York on a Wednesday.
START = NOW + timedelta(days=3)
DUE = START - timedelta(hours=24)
BODY = "Hi {{ first_name }}, see you on {{ appointment.date }} at {{ appointment.time }}."
US = load_rules("us")


class Office:
    """An office with one line, one contact, and a rule that sends a reminder a day before."""

    def __init__(self, new_uow: UnitOfWorkFactory, ids: dict[str, UUID]) -> None:
        self.new_uow = new_uow
        self.ids = ids

    @classmethod
    async def open(cls, new_uow: UnitOfWorkFactory) -> "Office":
        async with new_uow() as uow:
            line = await make_line(uow.session)
            ada = await make_contact(uow.session, phone=number(1))
            rule = await rules.create_rule(
                uow,
                ReminderRuleCreate(
                    name="The day before", line_id=line.id, body=BODY, hours_before=24
                ),
                author="key",
                now=NOW,
            )
            ids = {"line": line.id, "ada": ada.id, "rule": rule.id}
        return cls(new_uow, ids)

    async def book(self, starts_at: datetime = START, **values: Any) -> UUID:
        async with self.new_uow() as uow:
            made = await booking.insert_appointment(
                uow,
                {
                    "id": new_id(),
                    "contact_id": self.ids["ada"],
                    "property_id": None,
                    "kind": "repair",
                    "starts_at": starts_at,
                    "ends_at": starts_at + timedelta(hours=1),
                    "timezone": "America/New_York",
                    "assignee_id": None,
                    "location": None,
                    "note": None,
                    "status": "booked",
                    "author": "key",
                    "created_at": NOW,
                    "updated_at": NOW,
                    **values,
                },
                allow_conflict=True,
            )
            return made.id

    async def change(self, appointment_id: UUID, now: datetime, **values: Any) -> None:
        async with self.new_uow() as uow:
            await booking.write_changes(
                uow, values, appointment_id=appointment_id, allow_conflict=True, now=now
            )

    async def remind(self, now: datetime, *, law: RuleBook = NO_RULES) -> list[str]:
        """Decide about each due reminder; return the status that each decision sets."""
        async with self.new_uow() as uow:
            due = await sending.find_due_reminders(uow, now=now)
        decided = []
        for one in due:
            async with self.new_uow() as uow:
                status = await sending.decide_reminder(
                    uow, one, rules=law, business=BUSINESS, now=now
                )
            if status is not None:
                decided.append(status.value)
        return decided

    async def claim(self, now: datetime, *, law: RuleBook = NO_RULES) -> list[str]:
        """Claim due messages; return their bodies."""
        async with self.new_uow() as uow:
            claimed = await claim_queued(uow, limit=10, times=TIMES, rules=law, now=now)
        return [one.body for one in claimed]

    async def messages(self) -> list[tuple[str, str | None, str | None]]:
        """Return the origin, the status and the error code of each message."""
        async with self.new_uow() as uow:
            found = await uow.session.scalars(select(Activity).order_by(Activity.id))
            return [(one.origin, one.status, one.error_code) for one in found]

    async def reminders(self) -> list[tuple[str, str | None]]:
        async with self.new_uow() as uow:
            found = await uow.session.scalars(
                select(AppointmentReminder).order_by(AppointmentReminder.id)
            )
            return [(one.status, one.reason) for one in found]


@pytest_asyncio.fixture(name="office")
async def _office(committed_uow: UnitOfWorkFactory) -> Office:
    return await Office.open(committed_uow)


async def test_reminder_is_sent_once_when_it_is_due(office: Office) -> None:
    await office.book()

    assert await office.remind(DUE - timedelta(minutes=1)) == []
    assert await office.remind(DUE) == ["queued"]
    assert await office.remind(DUE + timedelta(minutes=1)) == []

    assert await office.claim(DUE) == ["Hi Ada, see you on Saturday, November 28 at 10:00 AM."]
    assert await office.messages() == [("reminder", "sending", None)]


@pytest.mark.parametrize("hours", [1, 72])
async def test_reminder_is_not_sent_after_its_appointment_begins(
    office: Office, hours: int
) -> None:
    # No worker ran in the meantime, so the job that withdraws late reminders did not run either.
    await office.book()
    assert await office.remind(DUE) == ["queued"]

    assert await office.claim(START + timedelta(hours=hours)) == []
    assert await office.messages() == [("reminder", "failed", "too_late")]


async def test_claimed_reminder_is_not_called_after_its_appointment_begins(
    office: Office,
) -> None:
    await office.book()
    await office.remind(DUE)
    assert len(await office.claim(START - timedelta(minutes=1))) == 1

    async with office.new_uow() as uow:
        found = await uow.session.execute(text("SELECT not_after FROM send_attempt"))

    assert found.scalars().all() == [START]


async def test_two_workers_send_one_reminder(office: Office) -> None:
    await office.book()
    async with office.new_uow() as uow:
        due = await sending.find_due_reminders(uow, now=DUE)

    async def work() -> str | None:
        async with office.new_uow() as uow:
            return await sending.decide_reminder(
                uow, due[0], rules=NO_RULES, business=BUSINESS, now=DUE
            )

    decided = await asyncio.gather(*(work() for _ in range(4)))

    assert sorted(map(str, decided)) == ["None", "None", "None", "queued"]
    assert len(await office.messages()) == 1


async def test_appointment_that_was_booked_late_gets_no_reminder(office: Office) -> None:
    await office.book(NOW + timedelta(hours=5))

    assert await office.remind(NOW + timedelta(hours=1)) == []


async def test_new_rule_sends_no_reminders_that_were_due_before_it(office: Office) -> None:
    await office.book()
    async with office.new_uow() as uow:
        await uow.session.execute(
            text("UPDATE reminder_rule SET created_at = :now"), {"now": DUE + timedelta(hours=1)}
        )

    assert await office.remind(DUE + timedelta(hours=2)) == []


async def test_opted_out_person_gets_no_reminder(office: Office) -> None:
    await office.book()
    async with office.new_uow() as uow:
        await consent.opt_out(
            uow,
            phone=number(1),
            contact_id=office.ids["ada"],
            source=ConsentSource.API,
            actor="key",
            reason="asked",
            evidence={},
            now=NOW,
            secret=SECRET.encode(),
        )

    assert await office.remind(DUE) == ["skipped"]
    assert await office.reminders() == [("skipped", "opted_out")]
    assert await office.messages() == []


async def test_opt_out_after_the_decision_stops_the_reminder(office: Office) -> None:
    await office.book()
    await office.remind(DUE)
    async with office.new_uow() as uow:
        await consent.opt_out(
            uow,
            phone=number(1),
            contact_id=office.ids["ada"],
            source=ConsentSource.API,
            actor="key",
            reason="asked",
            evidence={},
            now=DUE,
            secret=SECRET.encode(),
        )

    assert await office.claim(DUE) == []
    assert await office.messages() == [("reminder", "failed", "recipient_opted_out")]


async def test_hold_postpones_the_reminder(office: Office) -> None:
    await office.book()
    flag = text(
        "INSERT INTO contact_flag (id, phone, flag_type, reason, created_at) "
        "VALUES (gen_random_uuid(), :phone, 'opt_out_hold', 'doubtful', :now)"
    )
    async with office.new_uow() as uow:
        await uow.session.execute(flag, {"phone": number(1), "now": NOW})

    assert await office.remind(DUE) == ["waiting"]
    assert await office.remind(DUE + timedelta(minutes=1)) == []
    async with office.new_uow() as uow:
        await uow.session.execute(text("DELETE FROM contact_flag"))
    assert await office.remind(DUE + timedelta(minutes=6)) == ["queued"]


async def test_reminder_waits_for_legal_hours_even_if_the_person_wrote_before(
    office: Office,
) -> None:
    """Test that a reminder is not an answer, so it waits for 08:00 in Massachusetts."""
    starts_at = NOW + timedelta(days=2, hours=-6)  # 04:00 in New York
    await office.book(starts_at)
    due = starts_at - timedelta(hours=24)
    conversation = text("""
        WITH talk AS (
            INSERT INTO conversation (id, line_id, phone, last_activity_at, created_at)
            VALUES (gen_random_uuid(), :line, :phone, :now, :now) RETURNING id)
        INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, phone, body,
            status, occurred_at, created_at, updated_at)
        SELECT :id, 'message', 'incoming', 'provider', :line, talk.id, :phone, 'Hello', 'received',
            :now, :now, :now FROM talk""")
    async with office.new_uow() as uow:
        values = {"line": office.ids["line"], "phone": number(1), "now": NOW, "id": new_id()}
        await uow.session.execute(conversation, values)

    assert await office.remind(due, law=US) == ["waiting"]
    assert await office.reminders() == [("waiting", "outside_hours")]
    assert await office.remind(due + timedelta(hours=4), law=US) == ["queued"]
    # The legal hours are checked again when the message is claimed.
    assert await office.claim(due, law=US) == []


async def test_reminder_that_could_only_be_sent_after_the_start_is_skipped(office: Office) -> None:
    async with office.new_uow() as uow:
        changes = ReminderRuleUpdate(hours_before=2)
        await rules.update_rule(uow, changes, rule_id=office.ids["rule"], now=NOW)
    starts_at = NOW + timedelta(days=2, hours=-4)  # 06:00 in New York
    await office.book(starts_at)

    assert await office.remind(starts_at - timedelta(hours=2), law=US) == ["skipped"]
    assert await office.reminders() == [("skipped", "outside_hours")]


async def test_queued_reminder_of_a_cancelled_appointment_is_withdrawn(office: Office) -> None:
    visit = await office.book()
    await office.remind(DUE)

    await office.change(visit, DUE, status="cancelled")

    assert await office.claim(DUE) == []
    assert await office.messages() == [("reminder", "failed", "appointment_changed")]
    assert await office.remind(DUE + timedelta(minutes=1)) == []


async def test_moved_appointment_gets_another_reminder(office: Office) -> None:
    visit = await office.book()
    await office.remind(DUE)
    later = START + timedelta(days=1)

    await office.change(visit, DUE, starts_at=later, ends_at=later + timedelta(hours=1))

    assert await office.remind(DUE) == []
    assert await office.remind(later - timedelta(hours=24)) == ["queued"]
    assert await office.claim(later - timedelta(hours=24)) == [
        "Hi Ada, see you on Sunday, November 29 at 10:00 AM."
    ]
    assert [code for _, _, code in await office.messages()] == ["appointment_changed", None]


async def test_appointment_that_is_booked_again_gets_its_reminder(office: Office) -> None:
    visit = await office.book()
    await office.remind(DUE)
    await office.change(visit, DUE, status="cancelled")

    await office.change(visit, DUE, status="booked")

    assert await office.remind(DUE) == ["queued"]
    assert len(await office.claim(DUE)) == 1


async def test_other_contact_of_an_appointment_gets_the_reminder(office: Office) -> None:
    visit = await office.book()
    await office.remind(DUE)
    async with office.new_uow() as uow:
        leo = await make_contact(uow.session, phone=number(2), first_name="Leo")

    await office.change(visit, DUE, contact_id=leo.id)

    assert await office.remind(DUE) == ["queued"]
    assert [body.partition(",")[0] for body in await office.claim(DUE)] == ["Hi Leo"]


async def test_reserved_reminder_of_a_moved_appointment_is_withdrawn(office: Office) -> None:
    visit = await office.book()
    await office.remind(DUE)
    assert len(await office.claim(DUE)) == 1
    later = START + timedelta(days=1)

    await office.change(visit, DUE, starts_at=later, ends_at=later + timedelta(hours=1))

    assert await office.messages() == [("reminder", "failed", "appointment_changed")]
    assert await office.reminders() == []
    async with office.new_uow() as uow:
        rows = await uow.session.execute(text("SELECT status, error_code FROM send_attempt"))
    assert [tuple(row) for row in rows] == [("released", "withdrawn")]


async def test_reminder_that_waits_until_the_start_is_withdrawn(office: Office) -> None:
    await office.book()
    await office.remind(DUE)

    async with office.new_uow() as uow:
        await sending.withdraw_late_reminders(uow, now=START)

    assert await office.messages() == [("reminder", "failed", "appointment_changed")]


async def test_reminder_with_a_missing_value_is_skipped(office: Office) -> None:
    await office.book()
    async with office.new_uow() as uow:
        await uow.session.execute(text("UPDATE contact SET first_name = NULL"))

    assert await office.remind(DUE) == ["skipped"]
    assert await office.reminders() == [("skipped", "missing_value")]


async def test_blocked_line_postpones_the_reminder(office: Office) -> None:
    await office.book()
    async with office.new_uow() as uow:
        await uow.session.execute(text("UPDATE line SET status = 'blocked'"))

    assert await office.remind(DUE) == ["waiting"]
    assert await office.reminders() == [("waiting", "line_blocked")]


async def test_deleted_contact_gets_no_reminder(office: Office) -> None:
    await office.book()
    await office.remind(DUE)
    async with office.new_uow() as uow:
        await delete_contact(uow, contact_id=office.ids["ada"], now=DUE)

    assert await office.claim(DUE) == []
    assert await office.messages() == [("reminder", "failed", "recipient_contact_deleted")]


async def test_unknown_variable_is_refused(office: Office) -> None:
    body = ReminderRuleCreate(
        name="Bad", line_id=office.ids["line"], body="On {{ appointment.day }}", hours_before=1
    )
    async with office.new_uow() as uow:
        with pytest.raises(InvalidReminderError) as caught:
            await rules.create_rule(uow, body, author="key", now=NOW)

    assert [fault.code for fault in caught.value.errors] == ["unknown_variable"]

"""A scheduled answer ends the waiting when it is sent; a withdrawal restores the waiting."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text
from tests.domain.messaging.sends.ledger import TIMES
from tests.routers.office.conftest import Office

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.sends.queued_claim import claim_queued
from crm_api.domain.messaging.waiting import derive_waiting_of_attempts
from crm_api.platform import clock

PASS_TIME = text("""
    UPDATE activity SET scheduled_for = scheduled_for - CAST(:time AS interval),
        send_after = send_after - CAST(:time AS interval),
        created_at = created_at - CAST(:time AS interval)
    WHERE origin = 'manual'
""")


async def schedule(office: Office) -> dict[str, Any]:
    """Schedule an answer to be sent in an hour."""
    at = clock.now() + timedelta(hours=1)
    return await office.answer_at(send_at=format_instant(at))


async def send_due(office: Office) -> None:
    """Claim the due messages, and end the waiting, as the job ``send_messages`` does."""
    now = clock.now()
    async with office.new_uow() as uow:
        claimed = await claim_queued(uow, limit=10, times=TIMES, rules=NO_RULES, now=now)
    sent = [one.attempt_id for one in claimed if one.is_scheduled]
    async with office.new_uow() as uow:
        await derive_waiting_of_attempts(uow.session, sent, now=now)


async def pass_time(office: Office, time: timedelta) -> None:
    await office.session.execute(PASS_TIME, {"time": time})
    await office.session.commit()


async def test_scheduled_message_ends_the_waiting_when_it_is_sent(
    office: Office,
) -> None:
    await office.receive(office.message_event(ago=7200))
    before = await office.conversation()
    await schedule(office)
    scheduled = await office.conversation()
    # Let the person's message be stored before the user wrote the answer.
    await office.session.execute(text("UPDATE activity SET asked_at = asked_at - interval '1 day'"))
    await pass_time(office, timedelta(hours=1, seconds=1))

    await send_due(office)

    left = await office.conversation()
    assert (scheduled["state"], scheduled["waiting_since"]) == ("waiting", before["waiting_since"])
    assert (left["state"], left["waiting_since"]) == ("open", None)


async def test_scheduled_message_answers_a_message_that_arrived_before_the_send(
    office: Office,
) -> None:
    await schedule(office)
    await pass_time(office, timedelta(minutes=59, seconds=30))
    await office.receive(office.message_event(ago=5))
    waiting = await office.conversation()
    await office.session.execute(
        text("UPDATE activity SET asked_at = asked_at - interval '2 minutes'")
    )
    await pass_time(office, timedelta(minutes=1))

    await send_due(office)

    assert (waiting["state"], (await office.conversation())["state"]) == ("waiting", "open")


async def test_scheduled_message_that_is_too_late_does_not_end_the_waiting(
    office: Office,
) -> None:
    await office.receive(office.message_event(ago=60))
    before = await office.conversation()
    message = await schedule(office)
    await pass_time(office, timedelta(hours=50))

    await send_due(office)

    read = (await office.client.get(f"/v1/messages/{message['id']}")).json()
    after = await office.conversation()
    assert read["error_code"] == "too_late"
    assert (after["state"], after["waiting_since"]) == ("waiting", before["waiting_since"])


async def test_withdrawn_answer_restores_the_waiting(office: Office) -> None:
    await office.receive(office.message_event(ago=60))
    before = await office.conversation()
    message = await office.answer_at(undo_seconds=30)
    answered = await office.conversation()

    await office.client.delete(f"/v1/messages/{message['id']}")

    after = await office.conversation()
    assert (answered["state"], answered["waiting_since"]) == ("open", None)
    assert (after["state"], after["waiting_since"]) == ("waiting", before["waiting_since"])


async def test_withdrawn_scheduled_message_changes_nothing(office: Office) -> None:
    await office.receive(office.message_event(ago=60))
    message = await schedule(office)
    before = await office.conversation()

    await office.client.delete(f"/v1/messages/{message['id']}")

    after = await office.conversation()
    assert (after["state"], after["waiting_since"]) == ("waiting", before["waiting_since"])


async def test_earlier_answer_still_counts_when_a_later_one_is_withdrawn(office: Office) -> None:
    await office.receive(office.message_event(ago=60))
    await office.answer("On Tuesday.")
    message = await office.answer("Or Wednesday.")

    await office.client.delete(f"/v1/messages/{message['id']}")

    assert (await office.conversation())["state"] == "open"

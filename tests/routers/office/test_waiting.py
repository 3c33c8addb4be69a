"""Tests of the state waiting of a conversation: what starts the waiting, and what ends it."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.domain.inbound.webhook_events.support import PERSON, rows
from tests.factories import make_contact, make_line, number
from tests.routers.office.conftest import Office, instant

from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.platform import clock


async def test_message_waits_until_it_is_answered(office: Office) -> None:
    await office.receive(office.message_event("When can you come?", ago=60))
    waiting = await office.conversation()
    await office.receive(office.message_event("Hello?", ago=5))
    still = await office.conversation()
    await office.answer()
    answered = await office.conversation()

    assert (waiting["state"], answered["state"]) == ("waiting", "open")
    assert still["waiting_since"] == waiting["waiting_since"]
    assert clock.now() - instant(waiting["waiting_since"]) >= timedelta(seconds=59)
    assert answered["waiting_since"] is None
    assert (still["last_message"]["body_preview"], still["last_message"]["direction"]) == (
        "Hello?",
        "incoming",
    )
    assert answered["last_message"]["status"] == "queued"


async def test_late_message_waits_since_it_was_sent(office: Office) -> None:
    await office.receive(office.message_event(ago=10))
    later = await office.conversation()
    await office.receive(office.message_event(ago=300))

    assert (await office.conversation())["waiting_since"] < later["waiting_since"]


async def test_lost_message_that_is_found_after_the_answer_waits(office: Office) -> None:
    await office.receive(office.message_event("One", ago=300))
    await office.answer()
    await office.receive(office.message_event("Two, whose webhook was lost", ago=200))

    conversation = await office.conversation()
    assert (conversation["state"], conversation["waiting_since"] is not None) == ("waiting", True)


async def test_message_that_the_provider_reports_twice_waits_once(office: Office) -> None:
    payload = office.message_event(message_id="AC1")
    await office.receive(payload)
    await office.answer()
    await office.receive({**payload, "id": "EVagain"})

    assert (await office.conversation())["state"] == "open"


@pytest.mark.parametrize("words", ["STOP", "stop texting me", "Please take me off your list"])
async def test_opt_out_does_not_wait(office: Office, words: str) -> None:
    await office.receive(office.message_event(words))

    assert (
        (await office.conversation())["state"],
        await office.conversations(state="waiting"),
    ) == ("done", [])


async def test_opt_out_that_withdraws_an_answer_does_not_wait(office: Office) -> None:
    await office.answer()

    await office.receive(office.message_event("STOP"))

    conversation = await office.conversation()
    assert (conversation["state"], conversation["waiting_since"]) == ("open", None)
    (answer,) = await rows(office.session, "SELECT status FROM activity WHERE origin = 'manual'")
    assert answer["status"] == "failed"


async def test_question_waits_since_it_was_asked_when_an_opt_out_withdraws_the_answer(
    office: Office,
) -> None:
    await office.receive(office.message_event(ago=30))
    since = (await office.conversation())["waiting_since"]
    await office.answer()

    await office.receive(office.message_event("STOP", ago=60))

    conversation = await office.conversation()
    assert (conversation["state"], conversation["waiting_since"]) == ("waiting", since)


async def test_opt_out_does_not_wait_when_the_waiting_is_derived_again(office: Office) -> None:
    await office.receive(office.message_event("When?", ago=60))
    await office.receive(office.message_event("STOP", ago=30))
    await office.receive(office.app_message_event(ago=45))

    assert (await office.conversation())["state"] == "open"


async def test_message_of_an_own_line_does_not_wait(office: Office) -> None:
    await make_line(office.session, phone_number_id="PNother", line_number=number(90))
    await office.session.commit()
    await office.receive(office.message_event("Webhook check", phone=number(90)))

    assert (await office.conversation(number(90)))["state"] == "done"


async def test_old_message_of_an_import_does_not_wait(office: Office) -> None:
    await office.receive(office.message_event(ago=40 * 86_400))

    assert (await office.conversation())["state"] == "done"


@pytest.mark.parametrize(("sent_ago", "state"), [(60, "waiting"), (10, "open")])
async def test_answer_in_the_providers_app_ends_the_waiting_of_earlier_messages(
    office: Office, sent_ago: float, state: str
) -> None:
    await office.receive(office.message_event(ago=30))
    await office.receive(office.app_message_event(ago=sent_ago))

    assert (await office.conversation())["state"] == state


@pytest.mark.parametrize(("sent_ago", "state"), [(60, "waiting"), (10, "open")])
async def test_answer_in_the_providers_app_counts_if_it_arrives_first(
    office: Office, sent_ago: float, state: str
) -> None:
    await office.receive(office.app_message_event(ago=sent_ago))
    await office.receive(office.message_event(ago=30))

    assert (await office.conversation())["state"] == state


async def test_failed_message_of_the_app_is_not_an_answer(office: Office) -> None:
    await office.receive(office.message_event(ago=30))
    await office.receive(office.app_message_event(ago=20, message_id="ACapp", status="sent"))
    answered = (await office.conversation())["state"]
    failed = office.app_message_event(ago=20, message_id="ACapp", status="failed")
    await office.receive(failed)

    assert (answered, (await office.conversation())["state"]) == ("open", "waiting")


async def test_missed_call_waits_and_an_answered_one_ends_it(office: Office) -> None:
    await office.receive(office.call_event("missed", ago=60))
    missed = await office.conversation()
    await office.receive(office.call_event("answered", ago=1))

    assert (missed["state"], missed["last_message"]) == ("waiting", None)
    assert (await office.conversation())["state"] == "open"


async def test_ringing_call_waits_after_it_is_missed(office: Office) -> None:
    await office.receive(office.call_event("ringing", ago=60, call_id="AC9"))
    ringing = (await office.conversation())["state"]
    await office.receive(office.call_event("missed", ago=40, call_id="AC9"))

    assert (ringing, (await office.conversation())["state"]) == ("done", "waiting")


async def test_voicemail_waits(office: Office) -> None:
    await office.receive(office.call_event("voicemail.completed", ago=10))

    assert (await office.conversation())["state"] == "waiting"


async def test_withdrawn_answer_restores_the_waiting(office: Office) -> None:
    await office.receive(office.message_event(ago=60))
    before = await office.conversation()
    await office.answer()
    contact = f"/v1/contacts/{before['contact_id']}"
    await office.client.post(f"{contact}/opt-out", json={"reason": "on the phone"})

    conversation = await office.conversation()
    assert conversation["last_message"]["status"] == "failed"
    assert (conversation["state"], conversation["waiting_since"]) == (
        "waiting",
        before["waiting_since"],
    )


async def test_campaign_message_and_automatic_answer_do_not_end_the_waiting(office: Office) -> None:
    await office.receive(office.message_event("HELP"))

    (sent,) = (
        await office.client.get(f"/v1/conversations/{(await office.conversation())['id']}/messages")
    ).json()["data"][:1]
    assert sent["origin"] == "help"
    assert (await office.conversation())["state"] == "waiting"


async def test_conversation_that_begins_with_a_users_message_is_open(office: Office) -> None:
    await office.answer()

    assert (await office.conversation())["state"] == "open"


@pytest.mark.parametrize("state", ["done", "open"])
async def test_decision_of_a_user_ends_the_waiting(office: Office, state: str) -> None:
    await office.receive(office.message_event(ago=10))
    answer = await office.change_conversation(state=state)
    # After this event, the service derives the state again from all messages and calls. The
    # decision of the user must still be in effect.
    await office.receive(office.app_message_event(ago=60))

    assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert (
        (await office.conversation())["state"],
        (await office.conversation())["waiting_since"],
    ) == (state, None)


async def test_message_after_done_waits(office: Office) -> None:
    await office.receive(office.message_event(ago=10))
    await office.change_conversation(state="done")
    await office.receive(office.message_event("And another question"))

    assert (await office.conversation())["state"] == "waiting"


async def test_conversation_set_back_to_waiting_keeps_its_waiting_time(office: Office) -> None:
    await office.receive(office.message_event(ago=60))
    before = await office.conversation()
    await office.change_conversation(state="done")
    answer = await office.change_conversation(state="waiting")
    await office.receive(office.app_message_event(ago=90))
    derived = await office.conversation()
    await office.answer()

    assert answer.json()["waiting_since"] == before["waiting_since"]
    assert (derived["state"], derived["waiting_since"]) == ("waiting", before["waiting_since"])
    assert (await office.conversation())["state"] == "open"


async def test_conversation_of_an_erased_person_does_not_wait(office: Office) -> None:
    await office.receive(office.message_event(ago=60))
    conversation = await office.conversation()
    await office.client.post(f"/v1/conversations/{conversation['id']}/read")
    await office.client.post(
        f"/v1/contacts/{conversation['contact_id']}/erase", json={"reason": "asked"}
    )

    erased = (await office.client.get(f"/v1/conversations/{conversation['id']}")).json()
    found = await office.session.execute(text("SELECT count(*) FROM conversation_read"))
    assert (erased["state"], erased["waiting_since"], erased["contact"]) == ("done", None, None)
    assert erased["last_message"]["body_preview"] == ""
    assert found.scalar_one() == 0


async def test_merge_moves_the_conversation_and_its_undo_moves_it_back(office: Office) -> None:
    await office.receive(office.message_event(ago=60))
    conversation = await office.conversation()
    primary = await make_contact(office.session, phone=number(1), first_name="Ada")
    await office.session.commit()
    merged = await office.client.post(
        "/v1/contacts/merge",
        json={"primary_id": str(primary.id), "duplicate_ids": [conversation["contact_id"]]},
    )
    moved = await office.conversation()
    (merge,) = (await office.client.get("/v1/contact-merges")).json()["data"]
    undone = await office.client.post(f"/v1/contact-merges/{merge['id']}/undo")
    back = await office.conversation()

    assert (merged.status_code, undone.status_code) == (200, 200)
    assert (moved["contact"]["first_name"], moved["state"]) == ("Ada", "waiting")
    assert (back["contact_id"], back["state"]) == (conversation["contact_id"], "waiting")
    assert back["waiting_since"] == conversation["waiting_since"]


async def test_every_change_of_the_state_emits_an_event(office: Office) -> None:
    await office.receive(office.message_event(ago=60))
    await office.answer()
    await office.change_conversation(state="done")

    conversation = await office.conversation()
    found = await office.events()
    assert [one["data"]["state"] for one in found] == ["waiting", "open", "done"]
    assert {str(one["subject_id"]) for one in found} == {conversation["id"]}
    assert found[0]["data"]["contact_id"] == conversation["contact_id"]


async def test_campaign_message_to_a_done_conversation_emits_no_event(office: Office) -> None:
    office.session.add(
        Conversation(
            line_id=office.line.id,
            phone=PERSON,
            last_activity_at=clock.now(),
            created_at=clock.now(),
        )
    )
    await office.session.commit()

    assert await office.events() == []
    assert (await office.conversation())["state"] == "done"

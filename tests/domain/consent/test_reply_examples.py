"""A decision of a user stores the reply that the decision is about as an example for the reader."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    incoming,
    receive_message,
    rows,
    store,
)
from tests.factories import make_contact, make_line

from crm_api.domain.consent.errors import NotAReplyError
from crm_api.domain.consent.models import ConsentSource, hash_phone
from crm_api.domain.consent.reply_reader.analysis import Context
from crm_api.domain.consent.reply_reader.classifier import current_model
from crm_api.domain.consent.reply_reader.reader import read_reply
from crm_api.domain.consent.schemas import ConsentDecision
from crm_api.domain.inbound.webhook_events import event_lines
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.people.contacts import decisions
from crm_api.domain.people.erasure import erase as erasure
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.provider.openphone.wire import parse_event
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

KEY = SECRET.encode()
DOUBTFUL = "Not interested."
OPTING_OUT = "Please take me off your list"
QUESTION = "What does it cost to fix a wall?"
LATER = NOW + timedelta(minutes=5)


class Office:
    """A person who replies, and the office that decides about the replies."""

    def __init__(self, session: AsyncSession, new_uow: UnitOfWorkFactory, contact: Contact) -> None:
        self.session = session
        self.new_uow = new_uow
        self.contact = contact

    async def receive(
        self, words: str, *, message_id: str = "AC1", at: datetime = NOW, **changes: Any
    ) -> UUID:
        await receive_message(
            self.session, self.new_uow, words, message_id=message_id, at=at, **changes
        )
        [row] = await rows(
            self.session, "SELECT id FROM activity WHERE openphone_id = :id", id=message_id
        )
        return UUID(str(row["id"]))

    async def decide(self, decision: str, *, at: datetime = LATER, **body: Any) -> None:
        record = {"opt_out": decisions.opt_out, "opt_in": decisions.opt_in}[decision]
        async with self.new_uow() as uow:
            await record(
                uow,
                contact_id=self.contact.id,
                decision=ConsentDecision(reason="looked at it", **body),
                actor="office",
                now=at,
                secret=KEY,
            )

    async def remove_flag(self, flag: str) -> None:
        async with self.new_uow() as uow:
            await decisions.remove_flag(
                uow, contact_id=self.contact.id, flag=flag, actor="office", now=LATER, secret=KEY
            )

    async def examples(self) -> list[dict[str, Any]]:
        return await rows(self.session, "SELECT * FROM reply_example ORDER BY activity_id")

    async def labels(self) -> list[tuple[str, str, str, str]]:
        found = await self.examples()
        return [(one["body"], one["read_as"], one["label"], one["decision"]) for one in found]


@pytest_asyncio.fixture
async def office(session: AsyncSession, new_uow: UnitOfWorkFactory) -> Office:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    contact = await make_contact(session, phone=PERSON)
    await session.commit()
    return Office(session, new_uow, contact)


async def test_confirmed_hold_is_an_example_of_a_stop(office: Office) -> None:
    reply = await office.receive(DOUBTFUL)

    await office.decide("opt_out")

    [example] = await office.examples()
    model = current_model()
    assert example["activity_id"] == reply
    assert example["phone_hash"] == hash_phone(PERSON, KEY)
    assert (example["body"], example["read_as"]) == (DOUBTFUL, "doubtful")
    assert (example["label"], example["decision"]) == ("stop", "opt_out")
    assert example["decided_at"] == LATER
    assert example["reading"]["hold_at"] == model.hold_at
    assert example["reading"]["model"] == model.facts["data_sha256"][:12]


async def test_released_hold_is_an_example_of_not_a_stop(office: Office) -> None:
    await office.receive(DOUBTFUL)

    await office.decide("opt_in")

    assert await office.labels() == [(DOUBTFUL, "doubtful", "not_stop", "release")]


async def test_removal_of_the_hold_flag_is_a_release(office: Office) -> None:
    await office.receive(DOUBTFUL)

    await office.remove_flag("opt_out_hold")

    assert await office.labels() == [(DOUBTFUL, "doubtful", "not_stop", "release")]


async def test_decision_on_a_hold_is_about_the_reply_that_caused_it(
    office: Office,
) -> None:
    await office.receive(DOUBTFUL)
    await office.receive(QUESTION, message_id="AC2", at=NOW + timedelta(minutes=1))

    await office.decide("opt_out")

    assert await office.labels() == [(DOUBTFUL, "doubtful", "stop", "opt_out")]


async def test_opt_out_after_a_reply_that_changed_nothing_is_a_correction(office: Office) -> None:
    await office.receive(QUESTION)

    await office.decide("opt_out")

    assert await office.labels() == [(QUESTION, "none", "stop", "opt_out")]


async def test_opt_out_is_not_about_a_newer_reply_of_another_person(office: Office) -> None:
    await office.receive(QUESTION)
    later = NOW + timedelta(minutes=1)
    await office.receive("Hello there", message_id="AC2", at=later, **{"from": "+16175550147"})

    await office.decide("opt_out")

    assert await office.labels() == [(QUESTION, "none", "stop", "opt_out")]


@pytest.mark.parametrize(
    ("words", "decision", "label"),
    [
        (QUESTION, "opt_out", (QUESTION, "none", "stop", "opt_out")),
        (OPTING_OUT, "opt_in", (OPTING_OUT, "opt_out", "not_stop", "opt_in")),
    ],
)
async def test_decision_corrects_a_reply_for_thirty_days(
    office: Office, words: str, decision: str, label: tuple[str, str, str, str]
) -> None:
    await office.receive(words)

    await office.decide(decision, at=NOW + timedelta(days=30))

    assert await office.labels() == [label]


async def test_opt_in_after_an_opt_out_by_reply_is_a_correction(office: Office) -> None:
    await office.receive(OPTING_OUT)

    await office.decide("opt_in")

    assert await office.labels() == [(OPTING_OUT, "opt_out", "not_stop", "opt_in")]


async def test_later_decision_about_the_same_reply_replaces_the_label(office: Office) -> None:
    await office.receive(DOUBTFUL)
    await office.decide("opt_out")

    await office.decide("opt_in", at=LATER + timedelta(minutes=1))

    assert await office.labels() == [(DOUBTFUL, "doubtful", "not_stop", "opt_in")]
    [example] = await office.examples()
    assert example["decided_at"] == LATER + timedelta(minutes=1)
    assert example["created_at"] == LATER


async def test_context_is_stored(office: Office, session: AsyncSession) -> None:
    reply = await office.receive("Hello there", at=NOW - timedelta(hours=2))
    [conversation] = await rows(session, "SELECT conversation_id, line_id FROM activity")
    session.add(
        Activity(
            id=new_id(),
            kind="message",
            direction="outgoing",
            origin="manual",
            phone=PERSON,
            status="delivered",
            body="Shall we come on Monday?",
            occurred_at=NOW - timedelta(hours=1),
            created_at=NOW,
            updated_at=NOW,
            **conversation,
        )
    )
    await session.commit()
    answer = await office.receive(QUESTION, message_id="AC2")

    await office.decide("opt_out")

    [example] = await office.examples()
    assert example["activity_id"] == answer != reply
    assert (example["previous"], example["is_sale"]) == ("Shall we come on Monday?", True)
    in_context = read_reply(QUESTION, Context(is_sale=True, is_question=True))
    assert example["reading"]["asks_to_stop"] == in_context.asks_to_stop
    assert example["reading"]["needs_a_person"] == in_context.needs_a_person


async def test_decision_is_about_the_reply_that_it_names(
    office: Office, session: AsyncSession
) -> None:
    named = await office.receive("Hello there", at=NOW - timedelta(days=90))
    await office.receive(QUESTION, message_id="AC2")

    await office.decide("opt_out", message_id=named, source=ConsentSource.PHONE_CALL)

    assert await office.labels() == [("Hello there", "none", "stop", "opt_out")]
    [entry] = await rows(session, "SELECT activity_id FROM consent_entry")
    assert entry["activity_id"] == named


async def test_example_has_the_reading_of_its_own_reply(office: Office) -> None:
    await office.receive("STOP", message_id="AC1", at=NOW - timedelta(hours=2))
    await office.receive("START", message_id="AC2", at=NOW - timedelta(hours=1))
    await office.receive(QUESTION, message_id="AC3")

    await office.decide("opt_out")

    assert await office.labels() == [(QUESTION, "none", "stop", "opt_out")]


async def test_example_has_the_effect_at_receipt_even_if_it_is_read_otherwise_today(
    office: Office, session: AsyncSession
) -> None:
    await office.receive(QUESTION)
    await session.execute(text("UPDATE activity SET body = :body"), {"body": OPTING_OUT})

    await office.decide("opt_out")

    assert await office.labels() == [(OPTING_OUT, "none", "stop", "opt_out")]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE contact SET phone = '+16175550148'",  # the person has a new number
        "UPDATE activity SET contact_id = NULL",  # the contact is newer than the message
    ],
)
async def test_reply_belongs_to_the_person_by_contact_or_by_number(
    office: Office, session: AsyncSession, change: str
) -> None:
    reply = await office.receive(QUESTION)
    await session.execute(text(change))

    await office.decide("opt_out", message_id=reply)

    assert await office.labels() == [(QUESTION, "none", "stop", "opt_out")]


async def test_message_of_another_person_or_of_ours_is_refused(
    office: Office, session: AsyncSession
) -> None:
    ours = await office.receive(QUESTION)
    await session.execute(text("UPDATE activity SET direction = 'outgoing'"))
    sender: dict[str, Any] = {"from": "+16175550147"}
    await store(session, incoming(QUESTION, message_id="AC2", **sender))
    await apply(office.new_uow)
    [theirs] = await rows(session, "SELECT id FROM activity WHERE direction = 'incoming'")

    for message_id in (ours, theirs["id"], new_id()):
        with pytest.raises(NotAReplyError):
            await office.decide("opt_out", message_id=message_id)
    assert await rows(session, "SELECT * FROM consent_entry") == []


@pytest.mark.parametrize(
    ("words", "decision", "body"),
    [
        # The decision has another source than the reply: a phone call or a web form.
        (QUESTION, "opt_out", {"source": ConsentSource.PHONE_CALL}),
        (OPTING_OUT, "opt_in", {"source": ConsentSource.WEB_FORM}),
        # "STOP" is a keyword, which the service always reads correctly as an opt-out. The later
        # opt-in is a new decision of the person. It does not correct the reading of the reply.
        ("STOP", "opt_in", {}),
        # A reaction contains no request, so the opt-out is not about the reaction.
        ('Liked "Hi Ada"', "opt_out", {}),
        # The decision does not change the consent of the person.
        (OPTING_OUT, "opt_out", {}),
        (QUESTION, "opt_in", {}),
        # The reply is 31 days older than the decision, which is too old.
        (QUESTION, "opt_out", {"at": NOW + timedelta(days=31)}),
        (OPTING_OUT, "opt_in", {"at": NOW + timedelta(days=31)}),
    ],
)
async def test_decision_that_is_not_about_a_reply_stores_no_example(
    office: Office, words: str, decision: str, body: dict[str, Any]
) -> None:
    await office.receive(words)

    await office.decide(decision, **body)

    assert await office.labels() == []


async def test_hold_from_an_unknown_line_is_an_example_once_the_message_is_stored(
    office: Office,
) -> None:
    unknown = incoming(DOUBTFUL, message_id="AC9")
    async with office.new_uow() as uow:
        event = parse_event(unknown)
        await event_lines.apply_decision_on_unknown_line(
            uow, event, now=NOW, apply_settings=APPLY_SETTINGS
        )
    await office.receive(DOUBTFUL, message_id="AC9")

    await office.decide("opt_out")

    assert await office.labels() == [(DOUBTFUL, "doubtful", "stop", "opt_out")]


async def test_erasure_of_the_person_removes_the_examples(office: Office) -> None:
    await office.receive(DOUBTFUL)
    await office.decide("opt_out")

    async with office.new_uow() as uow:
        await erasure.erase_contact(
            uow, contact_id=office.contact.id, reason="asked", actor="office", now=LATER, secret=KEY
        )

    assert await office.examples() == []

import itertools
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, SECRET
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    automatic_messages,
    flags,
    incoming,
    receive_message,
    rows,
    store,
)
from tests.domain.provider.openphone.samples import sample
from tests.factories import make_campaign, make_contact, make_line, make_member
from tests.fakes import RecordingQueue

from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.consent.models import ConsentAction, ConsentSource
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.listed_numbers import (
    ListedNumber,
    apply_listed_numbers,
)
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.sends import SendAttempt
from crm_api.domain.messaging.sends import gate, queued_claim
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

OTHER = "+16175550147"


@pytest_asyncio.fixture
async def line(session: AsyncSession) -> Line:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return line


async def send_campaign_message(
    session: AsyncSession, line: Line, *, status: str = "delivered"
) -> SendAttempt:
    """Store a campaign message that was sent to the person an hour ago."""
    contact = await make_contact(session, phone=PERSON)
    campaign = await make_campaign(session, line=line)
    member = await make_member(session, campaign=campaign, contact=contact, status="delivered")
    an_hour_ago = NOW - timedelta(hours=1)
    attempt = SendAttempt(
        membership_id=member.id,
        campaign_id=campaign.id,
        line_id=line.id,
        activity_id=member.id,
        phone=PERSON,
        body="Hi Ada",
        status=status,
        called_at=an_hour_ago,
        accepted_at=an_hour_ago,
        provider_message_id="ACsent",
        created_at=an_hour_ago,
        updated_at=an_hour_ago,
    )
    session.add(attempt)
    await session.commit()
    return attempt


async def test_unknown_sender_becomes_a_contact_with_a_conversation(
    session: AsyncSession, new_uow: UnitOfWorkFactory, line: Line
) -> None:
    await receive_message(session, new_uow, "Yes, Tuesday works")

    contact = (await rows(session, "SELECT id, phone, source FROM contact"))[0]
    conversation = (await rows(session, "SELECT * FROM conversation"))[0]
    message = (await rows(session, "SELECT * FROM activity"))[0]
    assert contact["phone"] == PERSON
    assert (
        conversation["line_id"],
        conversation["phone"],
        conversation["contact_id"],
        conversation["last_activity_at"],
    ) == (
        line.id,
        PERSON,
        contact["id"],
        NOW,
    )
    assert (message["contact_id"], message["conversation_id"]) == (
        contact["id"],
        conversation["id"],
    )
    assert (message["direction"], message["body"]) == ("incoming", "Yes, Tuesday works")


@pytest.mark.usefixtures("line")
async def test_picture_without_a_body_is_stored(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await store(session, sample("legacy/variants/v4-mms.message.received"))

    await apply(new_uow)

    message = (await rows(session, "SELECT body, media FROM activity"))[0]
    assert message["body"] == ""
    assert message["media"] == [
        {"url": "https://media.example.com/7d1c.jpeg", "type": "image/jpeg"}
    ]


@pytest.mark.usefixtures("line")
async def test_group_message_keeps_its_participants(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await store(session, sample("legacy/variants/v3-app.message.received.group"))

    await apply(new_uow)

    message = (await rows(session, "SELECT phone, call FROM activity"))[0]
    assert message["phone"] == PERSON
    assert message["call"] == {"participants": [PERSON, "+16175550147"]}


@pytest.mark.usefixtures("line")
async def test_stop_from_an_unknown_number_opts_it_out_without_a_second_confirmation(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await store(session, sample("legacy/variants/v3-app.message.received.stop"))

    await apply(new_uow)

    entry = (await rows(session, "SELECT action, source, actor FROM consent_entry"))[0]
    assert await flags(session) == ["opted_out"]
    assert entry == {"action": "opt_out", "source": "message", "actor": "person"}
    assert await automatic_messages(session) == []


@pytest.mark.usefixtures("line")
async def test_opt_out_in_other_words_is_confirmed_once(
    session: AsyncSession, new_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    await receive_message(session, new_uow, "Please take me off your list", message_id="AC1")
    await receive_message(session, new_uow, "stop texting me", message_id="AC2")

    sent = await automatic_messages(session)
    assert await flags(session) == ["opted_out"]
    assert [(one["origin"], one["phone"], one["status"]) for one in sent] == [
        ("confirmation", PERSON, "queued")
    ]
    assert sent[0]["body"].startswith("Granite Foundations: you have opted out")
    assert JobName.SEND_MESSAGES in queue.names


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("is_claimed", [False, True])
async def test_start_withdraws_the_confirmation_of_the_opt_out(
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    is_claimed: bool,  # noqa: FBT001 - a table's column
) -> None:
    earlier = NOW - timedelta(minutes=1)
    await receive_message(session, new_uow, "take me off your list", message_id="AC1", at=earlier)
    claimed = await claim(new_uow) if is_claimed else []

    await receive_message(session, new_uow, "START", message_id="AC2")

    assert await claim(new_uow) == []
    async with new_uow() as uow:
        assert await gate.pass_gate(uow, claimed, times=APPLY_SETTINGS.times, now=NOW) == []
    [message] = await rows(
        session, "SELECT status, error_code FROM activity WHERE origin = 'confirmation'"
    )
    assert message == {"status": "failed", "error_code": "withdrawn"}


async def claim(new_uow: UnitOfWorkFactory) -> list[ClaimedAttempt]:
    async with new_uow() as uow:
        return await queued_claim.claim_queued(
            uow, limit=10, times=APPLY_SETTINGS.times, rules=NO_RULES, now=NOW
        )


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize(("late", "answers"), [(timedelta(days=1), 1), (timedelta(days=2), 0)])
@pytest.mark.parametrize("text", ["stop texting me", "HELP"])
async def test_late_message_counts_but_gets_no_automatic_answer(
    session: AsyncSession, new_uow: UnitOfWorkFactory, text: str, late: timedelta, answers: int
) -> None:
    await store(session, incoming(text))

    await apply(new_uow, now=NOW + late)

    assert await flags(session) == (["opted_out"] if text != "HELP" else [])
    assert len(await automatic_messages(session)) == answers


@pytest.mark.usefixtures("line")
async def test_start_opts_in_again(session: AsyncSession, new_uow: UnitOfWorkFactory) -> None:
    earlier = (NOW - timedelta(minutes=5)).isoformat()
    await receive_message(session, new_uow, "STOP", message_id="AC1", createdAt=earlier)

    await receive_message(session, new_uow, "START", message_id="AC2")

    actions = await rows(session, "SELECT action FROM consent_entry ORDER BY id")
    assert await flags(session) == []
    assert [one["action"] for one in actions] == ["opt_out", "opt_in"]


@pytest.mark.usefixtures("line")
async def test_help_is_answered_once_with_name_and_contact(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "HELP", message_id="AC1")
    await receive_message(session, new_uow, "HELP", message_id="AC2")

    sent = await automatic_messages(session)
    assert [one["origin"] for one in sent] == ["help"]
    assert "Granite Foundations" in sent[0]["body"]
    assert "+16175550100" in sent[0]["body"]


@pytest.mark.usefixtures("line")
async def test_doubtful_message_sets_a_hold_and_raises_an_alert(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "You have the wrong person")

    alerts = await rows(session, "SELECT kind, detail, context FROM alert")
    assert await flags(session) == ["opt_out_hold"]
    assert [one["kind"] for one in alerts] == ["doubtful_opt_out"]
    assert "wrong person" not in alerts[0]["detail"]
    assert await automatic_messages(session) == []


@pytest.mark.usefixtures("line")
async def test_ordinary_reply_changes_no_consent(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "Can you stop by tomorrow?")

    assert await flags(session) == []
    assert await rows(session, "SELECT id FROM consent_entry") == []


async def test_reply_belongs_to_its_campaign(
    session: AsyncSession, new_uow: UnitOfWorkFactory, line: Line
) -> None:
    attempt = await send_campaign_message(session, line)

    await receive_message(session, new_uow, "Yes please")

    message = (await rows(session, "SELECT campaign_id FROM activity WHERE body = 'Yes please'"))[0]
    member = await session.get(CampaignMembership, attempt.membership_id, populate_existing=True)
    assert message["campaign_id"] == attempt.campaign_id
    assert member is not None
    assert (member.replied_at, member.opted_out_at) == (NOW, None)
    assert member.is_interested


async def test_opt_out_by_message_is_recorded_on_the_recipient(
    session: AsyncSession, new_uow: UnitOfWorkFactory, line: Line
) -> None:
    attempt = await send_campaign_message(session, line)

    await receive_message(session, new_uow, "STOP")

    member = await session.get(CampaignMembership, attempt.membership_id, populate_existing=True)
    assert member is not None
    assert (member.replied_at, member.opted_out_at) == (NOW, NOW)
    assert not member.is_interested


@pytest.mark.usefixtures("line")
async def test_second_delivery_of_the_same_message_changes_nothing(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    """Test a message that two webhooks deliver, each with its own event id."""
    first = incoming("take me off your list", createdAt=(NOW - timedelta(minutes=5)).isoformat())
    await store(session, first)
    await apply(new_uow)
    await receive_message(session, new_uow, "START", message_id="AC2")

    await store(session, first, provider_event_id="EVother")
    await apply(new_uow)

    assert await flags(session) == []
    assert len(await automatic_messages(session)) == 1
    assert len(await rows(session, "SELECT id FROM consent_entry")) == 2


@pytest.mark.usefixtures("line")
async def test_sender_with_a_short_code_gets_no_contact_and_no_answer(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    payload = incoming("HELP")
    payload["data"]["context"]["senderIdentifier"] = "24365"
    await store(session, payload)

    await apply(new_uow)

    message = (await rows(session, "SELECT phone, contact_id FROM activity"))[0]
    assert message == {"phone": "24365", "contact_id": None}
    assert await rows(session, "SELECT id FROM contact") == []


async def test_message_with_id_and_number_of_its_line_adds_the_line(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "Hello")

    found = await rows(session, "SELECT phone_number_id, number FROM line")
    assert found == [{"phone_number_id": PROVIDER_LINE, "number": OWN_NUMBER}]


@pytest.mark.usefixtures("line")
async def test_older_message_does_not_move_the_conversation_back(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "new", message_id="AC1")
    earlier = (NOW - timedelta(days=1)).isoformat()
    await receive_message(session, new_uow, "old", message_id="AC2", createdAt=earlier)

    conversations = await rows(session, "SELECT last_activity_at FROM conversation")
    assert conversations == [{"last_activity_at": NOW}]


@pytest.mark.usefixtures("line")
async def test_message_sent_in_the_providers_app_is_stored_with_its_contact(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    contact = await make_contact(session, phone=PERSON)
    await store(session, sample("2026-03-30/message.delivered"))

    await apply(new_uow)

    message = (await rows(session, "SELECT contact_id, origin, status FROM activity"))[0]
    assert message == {"contact_id": contact.id, "origin": "provider", "status": "delivered"}


REPLIES = ("STOP", "START", "Not interested", "Thanks, see you then")


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("order", list(itertools.permutations(range(len(REPLIES)))))
async def test_latest_decision_counts_in_any_order_of_arrival(
    session: AsyncSession, new_uow: UnitOfWorkFactory, order: tuple[int, ...]
) -> None:
    for minute in order:
        written_at = (NOW - timedelta(minutes=30 - minute)).isoformat()
        await receive_message(
            session, new_uow, REPLIES[minute], message_id=f"AC{minute}", createdAt=written_at
        )

    found = await flags(session)

    assert found == ["opt_out_hold"]


@pytest.mark.usefixtures("line")
async def test_late_start_does_not_undo_a_later_stop(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    earlier = (NOW - timedelta(minutes=5)).isoformat()
    await receive_message(session, new_uow, "STOP", message_id="AC2")
    await receive_message(session, new_uow, "START", message_id="AC1", createdAt=earlier)

    assert await flags(session) == ["opted_out"]
    assert len(await rows(session, "SELECT 1 FROM consent_entry")) == 2


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("lists", ["import", "contact_file"])
async def test_late_start_does_not_undo_a_later_opt_out_by_a_list(
    session: AsyncSession, new_uow: UnitOfWorkFactory, lists: str
) -> None:
    hours = [NOW - timedelta(hours=hour) for hour in range(4)]
    await receive_message(session, new_uow, "STOP", message_id="AC1", at=hours[3])
    for at in (hours[1], NOW):
        await (list_in_file if lists == "contact_file" else list_number)(new_uow, at)

    await receive_message(
        session, new_uow, "START", message_id="AC2", createdAt=hours[2].isoformat()
    )

    assert await flags(session) == ["opted_out"]
    found = await rows(session, "SELECT source FROM consent_entry ORDER BY occurred_at")
    assert [row["source"] for row in found] == ["message", "message", "import"]


async def list_number(new_uow: UnitOfWorkFactory, at: datetime) -> None:
    async with new_uow() as uow:
        await consent.opt_out(
            uow,
            phone=PERSON,
            contact_id=None,
            source=ConsentSource.IMPORT,
            actor="list",
            reason="list",
            now=at,
            secret=SECRET.encode(),
        )


async def list_in_file(new_uow: UnitOfWorkFactory, at: datetime) -> None:
    listed = ListedNumber(
        phone=PERSON, action=ConsentAction.OPT_OUT, is_do_not_contact=False, evidence={}
    )
    async with new_uow() as uow:
        await apply_listed_numbers(uow, [listed], reason="list", now=at, secret=SECRET.encode())


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize(
    "word", ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "stop"]
)
async def test_opt_out_that_the_provider_confirms_gets_no_second_confirmation(
    session: AsyncSession, new_uow: UnitOfWorkFactory, word: str
) -> None:
    await receive_message(session, new_uow, word, at=NOW)

    assert await flags(session) == ["opted_out"]
    assert await automatic_messages(session) == []


@pytest.mark.usefixtures("line")
async def test_start_opts_in_only_the_number_that_sent_it(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    person = await make_contact(session, phone=PERSON)
    other = await make_contact(session, phone=OTHER)
    other.merged_into = person.id
    await session.commit()
    await receive_message(session, new_uow, "STOP", message_id="AC1", at=NOW - timedelta(minutes=5))
    before = await opted_out(session)

    await receive_message(session, new_uow, "START", message_id="AC2", at=NOW)

    assert before == {PERSON, OTHER}
    assert await opted_out(session) == {OTHER}


async def opted_out(session: AsyncSession) -> set[str]:
    found = await rows(session, "SELECT phone FROM contact_flag WHERE flag_type = 'opted_out'")
    return {row["phone"] for row in found}


@pytest.mark.usefixtures("line")
async def test_doubtful_message_from_an_own_line_raises_no_alert(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await make_line(session, phone_number_id="PNother", line_number=PERSON)
    await session.commit()

    await receive_message(session, new_uow, "not interested")

    assert await rows(session, "SELECT body FROM activity") == [{"body": "not interested"}]
    assert await rows(session, "SELECT kind, subject FROM alert") == []
    assert await flags(session) == []

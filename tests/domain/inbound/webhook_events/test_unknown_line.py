"""A message to a line that the service does not know: its decision about consent counts at once."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    automatic_messages,
    flags,
    incoming,
    rows,
    statuses,
    store,
)
from tests.factories import make_contact, make_line

from crm_api.domain.inbound.webhook_events import stored_events
from crm_api.domain.inbound.webhook_events.event_lines import apply_decision_on_unknown_line
from crm_api.domain.provider.openphone.facts import ProviderEvent
from crm_api.domain.provider.openphone.wire import parse_event
from crm_api.platform.database import UnitOfWorkFactory

MINUTE = timedelta(minutes=1)
ALERTS = (
    "SELECT subject, detail, resolved_at, context FROM alert WHERE kind = 'opt_out_on_unknown_line'"
)
ENTRIES = "SELECT action, occurred_at, contact_id FROM consent_entry ORDER BY id"


def event_with_line_id_only(words: str, **changes: Any) -> dict[str, Any]:
    """Return the event of a message whose line is given only by its id."""
    payload = incoming(words, **changes)
    del payload["data"]["context"]["recipientIdentifiers"]
    return payload


async def test_stop_on_an_unknown_line_opts_the_person_out_and_raises_an_alert(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    contact = await make_contact(session, phone=PERSON)
    await store(session, event_with_line_id_only("STOP"))

    await apply(new_uow)

    assert await flags(session) == ["opted_out"]
    assert await statuses(session) == ["failed"]
    assert await rows(session, "SELECT id FROM activity") == []
    (entry,) = await rows(session, ENTRIES)
    assert entry == {"action": "opt_out", "occurred_at": NOW, "contact_id": contact.id}
    (alert,) = await rows(session, ALERTS)
    assert alert["subject"] == PROVIDER_LINE
    assert PROVIDER_LINE in alert["detail"]
    assert "POST /v1/lines/sync" in alert["detail"]
    assert PERSON not in str(alert)


async def test_opt_out_without_any_line_opts_the_person_out(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    payload = event_with_line_id_only("stop texting me")
    del payload["data"]["context"]["phoneNumberId"]
    del payload["data"]["links"]
    await store(session, payload)

    await apply(new_uow)

    assert await flags(session) == ["opted_out"]
    assert [alert["subject"] for alert in await rows(session, ALERTS)] == ["none"]


async def test_doubtful_message_on_an_unknown_line_sets_a_hold(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await store(session, event_with_line_id_only("You have the wrong person"))

    await apply(new_uow)

    assert await flags(session) == ["opt_out_hold"]
    assert len(await rows(session, ALERTS)) == 1


@pytest.mark.parametrize("words", ["START", "HELP", "Yes please"])
async def test_other_messages_on_an_unknown_line_change_no_consent(
    session: AsyncSession, new_uow: UnitOfWorkFactory, words: str
) -> None:
    await store(session, event_with_line_id_only(words))

    await apply(new_uow)

    assert await flags(session) == []
    assert await rows(session, ENTRIES) == []
    assert await rows(session, ALERTS) == []


async def test_repeated_attempts_add_one_entry(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await store(session, event_with_line_id_only("STOP"))
    await store(session, event_with_line_id_only("STOP"), provider_event_id="EVother")

    for hours in range(4):
        await apply(new_uow, now=NOW + timedelta(hours=hours))

    assert len(await rows(session, ENTRIES)) == 1


async def test_retried_stop_does_not_undo_a_later_start_on_a_known_line(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await make_line(session, phone_number_id="PNother", line_number="+16175550199")
    await store(session, event_with_line_id_only("STOP"))
    await apply(new_uow)
    start = incoming("START", message_id="AC2", at=NOW + MINUTE)
    start["data"]["context"]["phoneNumberId"] = "PNother"
    await store(session, start, now=NOW + MINUTE)

    await apply(new_uow, now=NOW + timedelta(hours=1))

    assert await flags(session) == []


@pytest.mark.parametrize(
    ("words", "answers"),
    [("STOP", 0), ("stop texting me", 1)],
    ids=["confirmed by the provider", "confirmed by us"],
)
async def test_event_is_processed_and_its_opt_out_confirmed_when_the_line_is_known(
    session: AsyncSession, new_uow: UnitOfWorkFactory, words: str, answers: int
) -> None:
    await store(session, event_with_line_id_only(words))
    await apply(new_uow)
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)

    await apply(new_uow, now=NOW + timedelta(hours=1))
    async with new_uow() as uow:
        await stored_events.resolve_recovered_alerts(uow, now=NOW + timedelta(hours=1))

    assert await statuses(session) == ["processed"]
    stored = await rows(session, "SELECT body FROM activity ORDER BY direction")
    assert [one["body"] for one in stored][:1] == [words]
    assert len(await rows(session, ENTRIES)) == 1
    assert len(await automatic_messages(session)) == answers
    (alert,) = await rows(session, ALERTS)
    assert alert["resolved_at"] == NOW + timedelta(hours=1)


async def test_second_opt_out_is_not_confirmed_when_the_line_is_known(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for place in range(2):
        at = NOW + place * MINUTE
        payload = event_with_line_id_only("stop texting me", message_id=f"AC{place}", at=at)
        await store(session, payload, now=at)
    await apply(new_uow, now=NOW + MINUTE)
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)

    await apply(new_uow, now=NOW + timedelta(hours=1))

    assert len(await automatic_messages(session)) == 1


async def test_opt_out_that_was_lifted_is_not_confirmed_when_the_line_is_known(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await store(session, event_with_line_id_only("stop texting me"))
    await apply(new_uow)
    # Another flag does not stop messages, so it does not replace the opt-out.
    await session.execute(text("UPDATE contact_flag SET flag_type = 'recently_texted'"))
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)

    await apply(new_uow, now=NOW + timedelta(hours=1))

    assert await statuses(session) == ["processed"]
    assert await automatic_messages(session) == []


def listed_event(words: str, at: datetime) -> ProviderEvent:
    return parse_event(event_with_line_id_only(words, at=at))


async def test_stop_dated_in_the_future_counts_from_its_receipt(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    async with new_uow() as uow:
        await apply_decision_on_unknown_line(
            uow,
            listed_event("STOP", NOW + timedelta(hours=2)),
            now=NOW,
            apply_settings=APPLY_SETTINGS,
        )

    (entry,) = await rows(session, ENTRIES)
    assert entry["occurred_at"] == NOW


async def test_listed_stop_on_an_unknown_line_opts_the_person_out(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    async with new_uow() as uow:
        is_kept = await apply_decision_on_unknown_line(
            uow, listed_event("STOP", NOW), now=NOW, apply_settings=APPLY_SETTINGS
        )

    assert is_kept
    assert await flags(session) == ["opted_out"]

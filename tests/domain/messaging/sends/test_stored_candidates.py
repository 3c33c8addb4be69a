"""Which stored messages a look-up compares, and what an outdated look-up may change."""

from datetime import datetime

import pytest
from tests.domain.messaging.sends.ledger import BODY, TIMES, Ledger, after, message_facts
from tests.factories import make_line, number

from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import matching
from crm_api.domain.messaging.sends.report import apply_report
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform.database import UnitOfWorkFactory

UNKNOWN, NOT_FOUND = AttemptStatus.UNKNOWN, AttemptStatus.NOT_FOUND
STORE = """
    INSERT INTO activity (id, kind, direction, origin, line_id, phone, openphone_id, body, media,
        status, rank, occurred_at, created_at, updated_at)
    VALUES (uuid_v7(), :kind, :direction, :origin, :line_id, :phone, 'AC9', :body, '[]', 'sent', 3,
        :at, :at, :at)"""


async def _store(
    ledger: Ledger,
    *,
    kind: str = "message",
    direction: str = "outgoing",
    origin: str = "provider",
    phone: str = number(0),
    at: datetime,
) -> None:
    await ledger.run(
        STORE,
        kind=kind,
        direction=direction,
        origin=origin,
        line_id=ledger.line.id,
        phone=phone,
        body=BODY,
        at=at,
    )


async def _is_not_found(ledger: Ledger) -> bool:
    first = await ledger.look_up(begun_at=after(700))
    if first is not UNKNOWN:
        return False
    return await ledger.look_up(begun_at=after(800)) is NOT_FOUND


@pytest.mark.parametrize("seconds", [-2, 1, 600])
async def test_stored_message_in_the_window_settles_the_attempt(
    new_uow: UnitOfWorkFactory, seconds: float
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await _store(ledger, at=after(seconds))

    assert await ledger.look_up(begun_at=after(700)) is AttemptStatus.SENT
    assert (await ledger.attempt()).provider_message_id == "AC9"


@pytest.mark.parametrize("seconds", [-2.001, 600.001])
async def test_stored_message_outside_the_window_is_foreign(
    new_uow: UnitOfWorkFactory, seconds: float
) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await _store(ledger, at=after(seconds))

    assert await _is_not_found(ledger)


async def test_stored_message_to_another_number_is_foreign(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await _store(ledger, phone=number(7), at=after(1))

    assert await _is_not_found(ledger)


async def test_stored_message_from_another_line_is_foreign(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    async with new_uow() as uow:
        other = await make_line(
            uow.session, phone_number_id="PNsandbox2", line_number="+16175550199"
        )
    async with new_uow() as uow:
        await apply_report(
            uow, facts=message_facts(at=after(1)), line_id=other.id, times=TIMES, now=after(2)
        )

    assert await _is_not_found(ledger)


async def test_stored_reply_is_not_matched(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    await ledger.make_unclear_attempt()
    await _store(ledger, direction="incoming", at=after(1))

    assert await _is_not_found(ledger)


async def test_stale_look_up_does_not_park_an_answered_attempt(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    claimed = await ledger.make_unclear_attempt()
    async with new_uow() as uow:
        (seen,) = await matching.list_unknown_attempts(uow, limit=10)
    await ledger.answer(claimed, ResponseKind.REFUSED, code="0201400", now=after(650))

    await ledger.conclude(
        seen, message_facts(body="Another text.", at=after(1)), begun_at=after(700)
    )

    assert (await ledger.attempt()).status == "refused"
    assert (await ledger.recipient()).status == "failed"


async def test_stale_look_up_does_not_match_an_answered_attempt(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    claimed = await ledger.make_unclear_attempt()
    async with new_uow() as uow:
        (seen,) = await matching.list_unknown_attempts(uow, limit=10)
    await ledger.answer(claimed, ResponseKind.REFUSED, code="0201400", now=after(50))

    await ledger.conclude(seen, message_facts(at=after(1)), begun_at=after(60))

    attempt = await ledger.attempt()
    assert (attempt.status, attempt.provider_message_id) == ("refused", None)
    assert (await ledger.recipient()).status == "failed"

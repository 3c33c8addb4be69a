"""The recorder stores the provider's responses. A response that it cannot store delays no other."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import Ledger

from crm_api.domain.messaging.sends import recorder
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.provider_pauses import OutageWatch
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.messaging.sends.recorder import Recorder
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

LONG = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(200))
"""An id of random characters. Even if compressed, it is too long for an index entry."""


async def record_responses(
    new_uow: UnitOfWorkFactory, answered: list[Answered], *, now: datetime = NOW
) -> None:
    one_recorder = Recorder(
        new_uow=new_uow,
        limiter=Limiter(rate_per_second=10),
        outage=OutageWatch(None, new_uow=new_uow, now=lambda: now),
        now=lambda: now,
        end_run=lambda: None,
        pause=lambda _: None,
    )
    for item in answered:
        one_recorder.put(item)
    one_recorder.finish()
    async with asyncio.timeout(20):
        await one_recorder.run()


def _accepted(claimed: ClaimedAttempt, message_id: str, **more: Any) -> Answered:
    answer = SendResponse(
        kind=ResponseKind.ACCEPTED, provider_message_id=message_id, http_status=202, **more
    )
    return Answered(claimed=claimed, answer=answer)


@pytest.mark.parametrize("message_id", [LONG, "AC\x00", "AC\ud800"])
async def test_acceptance_that_cannot_be_stored_is_stored_without_an_id(
    committed_uow: UnitOfWorkFactory, message_id: str
) -> None:
    ledger = await Ledger.open(committed_uow, people=3)
    first, second, third = await ledger.begin_calls()

    await record_responses(
        committed_uow,
        [_accepted(first, "AC1"), _accepted(second, message_id), _accepted(third, "AC3")],
    )

    rows = {row.id: row for row in await ledger.attempts()}
    assert [rows[one.attempt_id].status for one in (first, second, third)] == [
        "sent",
        "unknown",
        "sent",
    ]
    unstorable = rows[second.attempt_id]
    assert (unstorable.has_no_id, unstorable.error_code, unstorable.provider_message_id) == (
        True,
        "not_storable",
        None,
    )


async def test_answer_that_cannot_be_stored_waits_while_the_database_is_down(
    committed_uow: UnitOfWorkFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "RECORD_RETRY_SECONDS", 0.05)
    ledger = await Ledger.open(committed_uow)
    (claimed,) = await ledger.begin_calls()
    is_up = asyncio.Event()
    tries = 0

    def new_uow() -> UnitOfWork:
        """Fail from the second call on, until ``is_up`` is set or 50 calls were made."""
        nonlocal tries
        tries += 1
        if tries == 2:
            asyncio.get_running_loop().call_later(0.01, is_up.set)
        if 1 < tries < 50 and not is_up.is_set():
            raise ConnectionRefusedError
        return committed_uow()

    await record_responses(new_uow, [_accepted(claimed, "AC\x00")])

    assert tries == 3
    assert (await ledger.attempt()).error_code == "not_storable"


async def test_refusal_that_cannot_be_stored_is_stored_without_its_code(
    committed_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(committed_uow)
    (claimed,) = await ledger.begin_calls()
    answer = SendResponse(kind=ResponseKind.REFUSED, http_status=400, code="\x00", detail="\x00")

    await record_responses(committed_uow, [Answered(claimed=claimed, answer=answer)])

    row = await ledger.attempt()
    assert (row.status, row.error_code) == ("refused", "not_storable")


async def test_wait_beyond_the_range_of_dates_is_bounded(committed_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(committed_uow)
    (claimed,) = await ledger.begin_calls()
    answer = SendResponse(
        kind=ResponseKind.LATER, http_status=429, retry_after_seconds=600, retry_after_asked=1e300
    )

    await record_responses(committed_uow, [Answered(claimed=claimed, answer=answer)])

    assert (await ledger.attempt()).status == "released"
    assert await ledger.alerts() == {"provider_asked_to_wait"}


@pytest.mark.parametrize("kind", [ResponseKind.TOO_LATE, ResponseKind.NOT_CONNECTED])
async def test_recipient_does_not_wait_by_a_wrong_clock_of_the_worker(
    committed_uow: UnitOfWorkFactory, kind: ResponseKind
) -> None:
    ledger = await Ledger.open(committed_uow)
    (claimed,) = await ledger.begin_calls()
    hours_ahead = datetime.now(UTC) + timedelta(hours=3)

    await record_responses(
        committed_uow,
        [Answered(claimed=claimed, answer=SendResponse(kind=kind, code=kind.value))],
        now=hours_ahead,
    )

    (row,) = await ledger.recipients()
    assert row.status == "pending"
    assert row.due_at < hours_ahead - timedelta(hours=2)

"""If the provider gives two messages one id, neither is sent again; other responses are stored."""

import itertools

import httpx
import pytest
import structlog
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger
from tests.factories import number

from crm_api.domain.messaging.sends import recorder
from crm_api.domain.messaging.sends.dispatcher import Dispatcher
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWorkFactory


async def test_id_given_twice_is_stored_once_and_other_answers_are_stored(
    committed_uow: UnitOfWorkFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "RECORD_RETRY_SECONDS", 0.0)
    ledger = await Ledger.open(committed_uow, people=4)
    ids = itertools.chain(["AC1", "AC1"], (f"AC{position}" for position in itertools.count(2)))

    def answer(_request: httpx.Request) -> httpx.Response:
        message = {"id": next(ids), "createdAt": NOW.isoformat(), "status": "sent"}
        return httpx.Response(202, json={"data": message})

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as openphone:
        with structlog.testing.capture_logs() as lines:
            tally = await Dispatcher(
                new_uow=committed_uow,
                provider=openphone,
                limiter=Limiter(rate_per_second=1000),
                times=TIMES,
                now=lambda: NOW,
            ).run(lambda limit: ledger.claim(limit=limit))

    attempts = sorted(await ledger.attempts(), key=lambda row: row.provider_message_id or "")
    assert tally.called == 4
    assert [row.provider_message_id for row in attempts] == [None, "AC1", "AC2", "AC3"]
    assert [row.status for row in attempts] == ["unknown", "sent", "sent", "sent"]
    assert attempts[0].has_no_id
    assert {row.phone for row in attempts} == {number(position) for position in range(4)}
    assert await ledger.alerts() == {"message_id_given_twice"}
    assert "provider returned message ids that other messages already have" in {
        line["event"] for line in lines
    }

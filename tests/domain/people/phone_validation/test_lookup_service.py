"""The paid look-up service over real HTTP: its responses, its failures, and their cost."""

from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.people.phone_validation.lookup_host import (
    HTML,
    KEY,
    REFUSED,
    THROTTLED,
    UNAVAILABLE,
    LookupHost,
    lookup_host,
    make_answer,
    make_response,
)

from crm_api.domain.people.phone_validation.budget import Budget
from crm_api.domain.people.phone_validation.errors import (
    BudgetSpentError,
    PhoneLookupBusyError,
    PhoneLookupRefusedError,
)
from crm_api.domain.people.phone_validation.lookup_service import MOST_BYTES, LookupService
from crm_api.domain.people.phone_validation.validator import LineTypeAnswer
from crm_api.platform.database import UnitOfWorkFactory

PHONE = "+16175550123"


@pytest_asyncio.fixture
async def host() -> AsyncIterator[LookupHost]:
    async with lookup_host() as host:
        yield host


class LookupClient:
    """A client that looks up one number at the host with its own budget, and records its waits."""

    def __init__(self, host: LookupHost, new_uow: UnitOfWorkFactory) -> None:
        self._host = host
        self._new_uow = new_uow
        self.waits: list[float] = []

    async def look_up_phone(
        self, *, daily: int = 100, call_seconds: float = 10.0
    ) -> LineTypeAnswer:
        async with (
            Budget(self._new_uow, daily=daily, now=_now) as budget,
            LookupService(
                url=self._host.url,
                api_key=KEY,
                budget=budget,
                call_seconds=call_seconds,
                sleep=self._sleep,
            ) as service,
        ):
            return await service.look_up(PHONE)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def _now() -> datetime:
    return NOW


@pytest.fixture
def lookup(host: LookupHost, new_uow: UnitOfWorkFactory) -> LookupClient:
    return LookupClient(host, new_uow)


async def read_used(session: AsyncSession) -> int:
    return await session.scalar(text("SELECT sum(used) FROM phone_lookup_day")) or 0


@pytest.mark.parametrize(
    ("given", "line_type"),
    [
        ("mobile", "mobile"),
        ("Wireless", "mobile"),
        ("landline", "landline"),
        ("fixed-line", "landline"),
        ("nonFixedVoip", "voip"),
        ("toll_free", "toll_free"),
        ("premium", "premium"),
        ("pager", "unknown"),
        ("", "unknown"),
    ],
)
async def test_answer_is_mapped_to_a_line_type(
    host: LookupHost, lookup: LookupClient, session: AsyncSession, given: str, line_type: str
) -> None:
    host.responses = [make_answer(given, carrier="Example Wireless", phone=PHONE)]

    answer = await lookup.look_up_phone()

    assert (answer.line_type, answer.carrier) == (line_type, "Example Wireless")
    assert host.requested == [PHONE]
    assert host.headers[0]["authorization"] == f"bearer {KEY}"
    assert await read_used(session) == 1


async def test_number_unknown_to_the_service_has_an_unknown_type(
    host: LookupHost, lookup: LookupClient, session: AsyncSession
) -> None:
    host.responses = [make_response('{"error": "no such number"}', status=404)]

    answer = await lookup.look_up_phone()

    assert answer.line_type == "unknown"
    assert await read_used(session) == 1


@pytest.mark.parametrize(
    "answer",
    [
        REFUSED,
        make_response("{}", status=403),
        make_response("{}", status=400),
        HTML,
        make_response("<html>Not found</html>", status=404, kind="text/html"),
        make_response("", status=302, location="https://lookup.example.com/login"),
        make_response("[]"),
        make_response("{}"),
        make_response('{"line_type": 7}'),
        make_answer("mobile", phone="+16175550199"),
        make_response('{"line_type": "mobile", "more": "' + "x" * MOST_BYTES + '"}'),
    ],
)
async def test_refusal_or_unexpected_response_uses_no_budget(
    host: LookupHost, lookup: LookupClient, session: AsyncSession, answer: bytes
) -> None:
    host.responses = [answer]

    with pytest.raises(PhoneLookupRefusedError) as caught:
        await lookup.look_up_phone()

    assert KEY not in caught.value.detail
    assert PHONE not in caught.value.detail
    assert len(host.requested) == 1
    assert await read_used(session) == 0


async def test_throttled_request_is_repeated_and_counted_once(
    host: LookupHost, lookup: LookupClient, session: AsyncSession
) -> None:
    host.responses = [THROTTLED, THROTTLED, make_answer("voip")]

    answer = await lookup.look_up_phone()

    assert answer.line_type == "voip"
    assert len(lookup.waits) == 2
    assert await read_used(session) == 1


async def test_unavailable_service_fails_after_repeats_and_each_attempt_counts(
    host: LookupHost, lookup: LookupClient, session: AsyncSession
) -> None:
    host.responses = [UNAVAILABLE]

    with pytest.raises(PhoneLookupBusyError):
        await lookup.look_up_phone()

    assert len(host.requested) == 3
    assert await read_used(session) == 3


async def test_silent_service_times_out(host: LookupHost, lookup: LookupClient) -> None:
    host.is_silent = True

    with pytest.raises(PhoneLookupBusyError, match="sent no response"):
        await lookup.look_up_phone(call_seconds=0.05)


async def test_spent_budget_sends_no_request(
    host: LookupHost, lookup: LookupClient, session: AsyncSession
) -> None:
    for _ in range(2):
        await lookup.look_up_phone(daily=2)

    with pytest.raises(BudgetSpentError):
        await lookup.look_up_phone(daily=2)

    assert len(host.requested) == 2
    assert await read_used(session) == 2

"""The paid service over real HTTP: its answers, its failures, and their cost."""

from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.people.phone_validation.lookup_host import (
    AWAY,
    HTML,
    KEY,
    REFUSED,
    THROTTLED,
    LookupHost,
    lookup_host,
    reply,
    told,
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


class Asker:
    """Looks up one number at the host, with its own budget; records the waits."""

    def __init__(self, host: LookupHost, new_uow: UnitOfWorkFactory) -> None:
        self._host = host
        self._new_uow = new_uow
        self.waits: list[float] = []

    async def ask(self, *, daily: int = 100, call_seconds: float = 10.0) -> LineTypeAnswer:
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
def asker(host: LookupHost, new_uow: UnitOfWorkFactory) -> Asker:
    return Asker(host, new_uow)


async def used(session: AsyncSession) -> int:
    return await session.scalar(text("SELECT sum(used) FROM phone_lookup_day")) or 0


@pytest.mark.parametrize(
    ("said", "line_type"),
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
async def test_answer_is_understood(
    host: LookupHost, asker: Asker, session: AsyncSession, said: str, line_type: str
) -> None:
    host.replies = [told(said, carrier="Example Wireless", phone=PHONE)]

    answer = await asker.ask()

    assert (answer.line_type, answer.carrier) == (line_type, "Example Wireless")
    assert host.asked == [PHONE]
    assert host.headers[0]["authorization"] == f"bearer {KEY}"
    assert await used(session) == 1


async def test_number_unknown_to_the_service_has_an_unknown_type(
    host: LookupHost, asker: Asker, session: AsyncSession
) -> None:
    host.replies = [reply('{"error": "no such number"}', status=404)]

    answer = await asker.ask()

    assert answer.line_type == "unknown"
    assert await used(session) == 1


@pytest.mark.parametrize(
    "answer",
    [
        REFUSED,
        reply("{}", status=403),
        reply("{}", status=400),
        HTML,
        reply("<html>Not found</html>", status=404, kind="text/html"),
        reply("", status=302, location="https://lookup.example.com/login"),
        reply("[]"),
        reply("{}"),
        reply('{"line_type": 7}'),
        told("mobile", phone="+16175550199"),
        reply('{"line_type": "mobile", "more": "' + "x" * MOST_BYTES + '"}'),
    ],
)
async def test_refusal_or_another_kind_of_service_costs_nothing(
    host: LookupHost, asker: Asker, session: AsyncSession, answer: bytes
) -> None:
    host.replies = [answer]

    with pytest.raises(PhoneLookupRefusedError) as caught:
        await asker.ask()

    assert KEY not in caught.value.detail
    assert PHONE not in caught.value.detail
    assert len(host.asked) == 1
    assert await used(session) == 0


async def test_throttled_request_is_repeated_and_counted_once(
    host: LookupHost, asker: Asker, session: AsyncSession
) -> None:
    host.replies = [THROTTLED, THROTTLED, told("voip")]

    answer = await asker.ask()

    assert answer.line_type == "voip"
    assert len(asker.waits) == 2
    assert await used(session) == 1


async def test_unavailable_service_fails_after_repeats_and_each_attempt_counts(
    host: LookupHost, asker: Asker, session: AsyncSession
) -> None:
    host.replies = [AWAY]

    with pytest.raises(PhoneLookupBusyError):
        await asker.ask()

    assert len(host.asked) == 3
    assert await used(session) == 3


async def test_silent_service_times_out(host: LookupHost, asker: Asker) -> None:
    host.is_silent = True

    with pytest.raises(PhoneLookupBusyError, match="sent no response"):
        await asker.ask(call_seconds=0.05)


async def test_spent_budget_sends_no_request(
    host: LookupHost, asker: Asker, session: AsyncSession
) -> None:
    for _ in range(2):
        await asker.ask(daily=2)

    with pytest.raises(BudgetSpentError):
        await asker.ask(daily=2)

    assert len(host.asked) == 2
    assert await used(session) == 2

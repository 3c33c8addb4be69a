"""An odd response of the provider never stops the sending and never loses another response."""

import asyncio
import gzip
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from sqlalchemy import Row
from tests.domain.messaging.sends.ledger import Ledger
from tests.fakes import RecordingQueue
from tests.workers.campaigns.odd_provider import OddProvider, http, odd_provider
from tests.workers.drain import make_deps, open_ledger

from crm_api.domain.messaging.sends.limiter import LONGEST_PAUSE, Limiter
from crm_api.domain.messaging.sends.provider_pauses import end_provider_pause
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings
from crm_api.workers.campaigns import process_campaign_queue

PEOPLE = 4
ENDS_WITHIN = 90.0
"""Time limit in seconds to send all messages; a busy machine needs almost a minute."""
MEGABYTE = 1024 * 1024


def _accepted(**data: Any) -> bytes:
    return http(202, {"data": {"id": "ACodd", "status": "queued", **data}})


async def _drain(
    settings: Settings, new_uow: UnitOfWorkFactory, queue: RecordingQueue, *answers: bytes
) -> tuple[Ledger, OddProvider]:
    """Send the messages of a small campaign; the first sends get these responses."""
    ledger = await open_ledger(new_uow, people=PEOPLE)
    async with (
        odd_provider(*answers) as provider,
        OpenPhoneClient(base_url=provider.url, api_key="key") as client,
        asyncio.timeout(ENDS_WITHIN),
    ):
        deps = make_deps(settings, new_uow, queue, client)
        deps.limiter = Limiter(rate_per_second=20)
        await process_campaign_queue({"deps": deps})
    return ledger, provider


async def _first_attempt(ledger: Ledger, provider: OddProvider) -> Row[Any]:
    """Return the attempt of the first send, which got the given response."""
    (row,) = await ledger.rows(
        "SELECT * FROM send_attempt WHERE phone = :p", p=provider.recipients[0]
    )
    return row


def _other_statuses(rows: Sequence[Row[Any]], provider: OddProvider) -> Counter[str]:
    return Counter(row.status for row in rows if row.phone != provider.recipients[0])


@pytest.mark.parametrize(
    "answer",
    [
        http(202, b"x" * (10 * MEGABYTE)),
        http(202, b'{"data": {"id": "' + b"A" * (10 * MEGABYTE) + b'"}}'),
        http(202, gzip.compress(b" " * (64 * MEGABYTE)), content_encoding="gzip"),
        http(202, b"no gzip", content_encoding="gzip"),
        http(202, "[" * 5000),
        http(202, []),
        http(202, {"data": [1]}),
        http(202, {"data": {"id": {"a": 1}}}),
        http(202, {"data": {"id": None}}),
        http(202, {"data": {"id": "\x00"}}),
        http(202, {"data": {"id": "A" * 5000}}),
    ],
    ids=[
        "10 MB",
        "id of 10 MB",
        "64 MB in gzip",
        "no gzip",
        "deep",
        "list",
        "data is a list",
        "id is an object",
        "id is null",
        "id is NUL",
        "long id",
    ],
)
async def test_acceptance_without_a_usable_id_is_never_sent_again(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue, answer: bytes
) -> None:
    ledger, provider = await _drain(settings, committed_uow, queue, answer)

    odd = await _first_attempt(ledger, provider)
    assert (odd.status, odd.has_no_id) == ("unknown", True)
    assert _other_statuses(await ledger.attempts(), provider) == {"sent": PEOPLE - 1}


@pytest.mark.parametrize(
    "data",
    [
        {"id": "AC\x00odd"},
        {"id": "ACodd", "createdAt": "0001-01-01T00:00:00Z"},
        {"id": "ACodd", "createdAt": "9999-12-31T23:59:59.999Z"},
        {"id": "ACodd", "createdAt": "9999-12-31T23:59:59-23:59"},
        {"id": "ACodd", "createdAt": 1e300},
        {"id": "ACodd", "createdAt": -62135596800},
        {"id": "ACodd", "createdAt": {"at": "noon"}, "status": ["queued"]},
        {"id": "ACodd", "status": "\x00" * 9},
    ],
    ids=["NUL", "year 1", "year 9999", "beyond 9999", "1e300", "minus", "objects", "NUL status"],
)
async def test_acceptance_with_odd_members_marks_its_attempt_as_sent(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    data: dict[str, Any],
) -> None:
    ledger, provider = await _drain(settings, committed_uow, queue, _accepted(**data))

    odd = await _first_attempt(ledger, provider)
    assert (odd.status, odd.provider_message_id) == ("sent", "ACodd")
    assert odd.accepted_at.year == odd.created_at.year
    assert _other_statuses(await ledger.attempts(), provider) == {"sent": PEOPLE - 1}


@pytest.mark.parametrize(
    "answer",
    [
        http(400, {"message": "no \x00 number", "code": "\x00" * 9}),
        http(400, {"message": "A" * MEGABYTE, "code": "B" * MEGABYTE}),
        http(400, b"y" * (10 * MEGABYTE)),
        http(400, {"error": {"message": 5, "code": {"a": 1}}}),
        http(403, [[[]]]),
    ],
    ids=["NUL", "long", "10 MB", "numbers", "list"],
)
async def test_odd_refusal_fails_only_its_own_recipient(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue, answer: bytes
) -> None:
    ledger, provider = await _drain(settings, committed_uow, queue, answer)

    odd = await _first_attempt(ledger, provider)
    assert odd.status == "refused"
    assert len(odd.error_code) <= 64
    assert _other_statuses(await ledger.attempts(), provider) == {"sent": PEOPLE - 1}


@pytest.mark.parametrize(
    "answer",
    [
        http(302, location="http://127.0.0.1:9/elsewhere"),
        http(307, location="http://[broken/\x01"),
        http(308, location="\x00"),
        http(500, b"z" * (10 * MEGABYTE)),
        http(202, {"data": {"id": "ACodd"}})[:-5],
        b"HTTP/1.1 202 Accepted\r\nx: " + b"h" * 200_000 + b"\r\n\r\n",
        b"what?\r\n\r\n",
    ],
    ids=["302", "307 broken", "308 NUL", "500 of 10 MB", "cut off", "long header", "no HTTP"],
)
async def test_response_without_a_result_is_unclear(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue, answer: bytes
) -> None:
    ledger, provider = await _drain(settings, committed_uow, queue, answer)

    assert (await _first_attempt(ledger, provider)).status == "unknown"
    assert _other_statuses(await ledger.attempts(), provider) == {"sent": PEOPLE - 1}


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 -2359", "nan", "\x01", "0"])
async def test_odd_date_header_is_ignored(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue, date: str
) -> None:
    answer = http(202, {"data": {"id": "ACodd"}}, date=date)

    ledger, provider = await _drain(settings, committed_uow, queue, answer)

    assert (await _first_attempt(ledger, provider)).status == "sent"
    assert _other_statuses(await ledger.attempts(), provider) == {"sent": PEOPLE - 1}


async def test_too_long_response_is_not_read_to_its_end(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    _, provider = await _drain(settings, committed_uow, queue, http(202, b"x" * (64 * MEGABYTE)))

    assert provider.sent_bytes < 32 * MEGABYTE


@pytest.mark.parametrize("requested_wait", ["nan", "inf", "-1", "soon", "9" * 400, "0"])
async def test_invalid_requested_wait_causes_a_normal_back_off(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue, requested_wait: str
) -> None:
    answer = http(429, {"message": "slow down"}, retry_after=requested_wait)

    ledger, provider = await _drain(settings, committed_uow, queue, answer)

    assert (await _first_attempt(ledger, provider)).status == "released"
    assert _other_statuses(await ledger.attempts(), provider) == {"sent": PEOPLE - 1}
    assert await ledger.alerts() == set()


@pytest.mark.parametrize(
    "requested_wait", ["601", "31536000", "1e18", "Wed, 25 Nov 2099 15:00:00 GMT"]
)
async def test_long_requested_wait_pauses_sending_for_ten_minutes_and_raises_an_alert(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue, requested_wait: str
) -> None:
    begun = clock.now()
    date = format_datetime(begun.replace(microsecond=0), usegmt=True)
    answer = http(429, {"message": "slow down"}, retry_after=requested_wait, date=date)

    ledger, provider = await _drain(settings, committed_uow, queue, *[answer] * PEOPLE)

    async with committed_uow() as uow:
        hold = await Limiter(rate_per_second=1).read_pause(uow, now=clock.now())
    assert hold is not None
    assert timedelta(0) <= hold.until - begun - LONGEST_PAUSE < timedelta(seconds=ENDS_WITHIN)
    assert hold.asked_seconds > 600
    (alert,) = await ledger.rows("SELECT * FROM alert")
    assert (alert.kind, alert.subject) == ("provider_asked_to_wait", "openphone")
    assert f"{hold.asked_seconds:g} seconds" in alert.detail
    assert {row.status for row in await ledger.recipients()} == {"pending"}
    called = len(provider.recipients)
    assert called <= PEOPLE

    # No attempt is claimed before the pause ends.
    tries = len(await ledger.attempts())
    async with OpenPhoneClient(base_url=provider.url, api_key="key") as client:
        await process_campaign_queue({"deps": make_deps(settings, committed_uow, queue, client)})
    assert len(await ledger.attempts()) == tries


async def test_recipients_of_a_pause_are_due_at_once_when_a_user_ends_the_pause(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    answer = http(429, {"message": "slow down"}, retry_after="31536000")
    ledger, _ = await _drain(settings, committed_uow, queue, *[answer] * PEOPLE)
    assert max(row.due_at for row in await ledger.recipients()) > clock.now()

    async with committed_uow() as uow:
        now = await uow.database_now()
        await end_provider_pause(uow, actor="test", now=now)

    assert max(row.due_at for row in await ledger.recipients()) <= now


async def test_short_pause_does_not_end_the_run(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    answer = http(429, {"message": "slow down"}, retry_after="1")

    ledger, provider = await _drain(settings, committed_uow, queue, answer)

    assert _other_statuses(await ledger.attempts(), provider) == {"sent": PEOPLE - 1}
    assert await ledger.alerts() == set()

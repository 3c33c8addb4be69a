"""If a list of the provider is faulty, the run ends with a reason and an alert, without a loop."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.conftest import NOW
from tests.domain.inbound.reconciliation.support import (
    LINE,
    PERSON,
    InterceptingTransport,
    ReconciliationHarness,
    paths,
    reconciliation_harness,
)

from crm_api.domain.inbound.reconciliation import run_progress
from crm_api.domain.inbound.reconciliation.conversation_lists import TOGETHER
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.inbound.reconciliation.reading import MOST_PAGES, REMEMBERED_PAGES, PageGuard
from crm_api.domain.provider.openphone.errors import OpenPhoneListError
from crm_api.domain.provider.openphone.listing import ListPage
from crm_api.platform.database import UnitOfWorkFactory

Answer = Callable[[httpx.Request], httpx.Response | None]
SAME = "a token"
HTML = "<html><body>We will be right back.</body></html>"


def _is_message_list(request: httpx.Request) -> bool:
    return request.url.path == "/messages"


def _is_call_list(request: httpx.Request) -> bool:
    return request.url.path == "/v1/calls"


def _page(*ids: str, token: str | None) -> httpx.Response:
    """Return a page that fits both versions of the message list; each message is three days old."""
    at = (NOW - timedelta(days=3)).isoformat()
    listed = [
        {
            "id": one,
            "direction": "incoming",
            "from": PERSON,
            "to": ["+16175550100"],
            "text": one,
            "phoneNumberId": LINE,
            "status": "received",
            "createdAt": at,
        }
        for one in ids
    ]
    return httpx.Response(200, json={"data": listed, "nextCursor": token, "nextPageToken": token})


async def _run_to_its_end(harness: ReconciliationHarness) -> ReconciliationRun:
    """Request a run and work on it until it ends; advance the clock by each requested wait."""
    run_id = await harness.request_run()
    for _ in range(2 * run_progress.MOST_FAILURES):
        worked = await harness.work_on_run()
        run = await harness.read_run(run_id)
        if run.finished_at is not None:
            return run
        assert worked is not None
        harness.advance((worked.wait or timedelta(0)).total_seconds())
    raise AssertionError("the run does not end")


async def _run(
    new_uow: UnitOfWorkFactory, answer: Answer
) -> tuple[ReconciliationRun, ReconciliationHarness]:
    async with reconciliation_harness(
        new_uow, wrap=lambda inner: InterceptingTransport(inner, answer)
    ) as harness:
        harness.receive("in the sandbox")
        harness.advance(3600)
        return await _run_to_its_end(harness), harness


async def _failed(new_uow: UnitOfWorkFactory, answer: Answer) -> tuple[str, ReconciliationHarness]:
    run, harness = await _run(new_uow, answer)
    alerts = await harness.alerts()
    assert run.status == "failed"
    assert run.last_error is not None
    assert run.last_error in alerts["reconciliation_failed"]["detail"]
    return run.last_error, harness


async def test_repeated_page_fails_the_run(new_uow: UnitOfWorkFactory) -> None:
    tokens = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        if not _is_message_list(request):
            return None
        return _page("AC1", "AC2", token=f"token {next(tokens)}")

    why, harness = await _failed(new_uow, answer)

    assert why == (
        "OpenPhone returned the same page of a list twice, so the list could not be read "
        "completely. Try again later."
    )
    assert paths(harness.requests).count("/messages") == 2 * run_progress.MOST_FAILURES


async def test_pages_in_a_cycle_fail_the_run(new_uow: UnitOfWorkFactory) -> None:
    tokens = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        if not _is_message_list(request):
            return None
        place = next(tokens)
        return _page(f"AC{place % 5}", token=f"token {place}")

    why, _ = await _failed(new_uow, answer)

    assert why == (
        "OpenPhone returned the same page of a list twice, so the list could not be read "
        "completely. Try again later."
    )


async def test_repeated_page_token_fails_the_run(new_uow: UnitOfWorkFactory) -> None:
    ids = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        return _page(f"AC{next(ids)}", token=SAME) if _is_message_list(request) else None

    why, _ = await _failed(new_uow, answer)

    assert why == (
        "OpenPhone returned the same page token twice, so the list could not be read completely. "
        "Try again later."
    )


async def test_endless_empty_pages_fail_the_run(new_uow: UnitOfWorkFactory) -> None:
    tokens = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        return _page(token=f"token {next(tokens)}") if _is_message_list(request) else None

    why, _ = await _failed(new_uow, answer)

    assert why == (
        "OpenPhone returned 3 empty pages in a row, so the list could not be read completely. Try "
        "again later."
    )


def test_list_with_too_many_pages_is_refused() -> None:
    guard = PageGuard(pages=MOST_PAGES - 1)

    with pytest.raises(OpenPhoneListError, match="more than 20,000 pages"):
        guard.check(ListPage(items=[{"id": "AC1"}], next_token=SAME))


def test_page_guard_remembers_a_bounded_number_of_ids() -> None:
    guard = PageGuard()
    for place in range(1_000):
        items = [{"id": f"AC{place}-{item}"} for item in range(50)]
        guard.check(ListPage(items=items, next_token=f"{place}"))

    assert len(guard._ids) == REMEMBERED_PAGES * 50


@pytest.mark.parametrize(
    "broken",
    [
        httpx.Response(200, text=HTML),
        httpx.Response(200, json=["no", "object"]),
        httpx.Response(200, json={"data": None, "nextCursor": "next"}),
        httpx.Response(200, json={"nextCursor": None}),
        httpx.Response(200, content=b'{"data": [{"id": "AC'),
        httpx.Response(500, text=HTML),
    ],
    ids=["html", "not an object", "null", "missing", "cut off", "500"],
)
async def test_unreadable_page_fails_the_run_and_earlier_items_are_kept(
    new_uow: UnitOfWorkFactory, broken: httpx.Response
) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        is_second = _is_message_list(request) and "after" in request.url.params
        if is_second:
            return httpx.Response(
                broken.status_code, content=broken.content, headers=broken.headers
            )
        return _page("AC1", token=SAME) if _is_message_list(request) else None

    run, harness = await _run(new_uow, answer)

    assert run.status == "failed"
    assert run.last_error
    assert set(await harness.alerts()) >= {"reconciliation_failed"}
    # The run stores the items that were listed before the unreadable page.
    assert [words for _, words, _ in await harness.messages()] == ["AC1"]
    assert run.created == 1


async def test_run_waits_for_a_page_that_is_unreadable_for_a_while(
    new_uow: UnitOfWorkFactory,
) -> None:
    broken = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        if _is_message_list(request) and next(broken) < 4:
            return httpx.Response(200, text=HTML)
        return None

    run, harness = await _run(new_uow, answer)

    assert run.status == "completed"
    assert (run.created, run.failures, run.last_error) == (1, 0, None)
    assert await harness.alerts() == {}


async def test_refused_api_key_ends_the_run_at_once(new_uow: UnitOfWorkFactory) -> None:
    def answer(_request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(401, json={"message": "Unauthorized", "code": "0200401"})

    why, harness = await _failed(new_uow, answer)

    assert "401" in why
    assert len(harness.requests) == 1


async def test_next_completed_run_resolves_the_alert_of_a_failed_run(
    new_uow: UnitOfWorkFactory,
) -> None:
    is_refused = True

    def answer(_request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(401, json={"message": "Unauthorized"}) if is_refused else None

    async with reconciliation_harness(
        new_uow, wrap=lambda inner: InterceptingTransport(inner, answer)
    ) as harness:
        failed = await harness.run()
        alerts = await harness.alerts()
        is_refused = False
        completed = await harness.run()

        assert (failed.status, completed.status) == ("failed", "completed")
        assert set(alerts) == {"reconciliation_failed"}
        assert await harness.alerts() == {}


async def test_reading_stops_at_the_start_of_the_span(
    new_uow: UnitOfWorkFactory,
) -> None:
    """Test with a provider that ignores the start of the span and lists the whole history."""
    pages = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        if not _is_message_list(request):
            return None
        place = next(pages)
        assert place < 3, "the reader did not stop at the bound"
        return _page(f"AC{place}", token=f"token {place}")

    async with reconciliation_harness(
        new_uow, wrap=lambda inner: InterceptingTransport(inner, answer)
    ) as harness:
        harness.advance(2 * 86_400)
        run = await harness.run(since=harness.clock.now - timedelta(hours=12))

    assert run.status == "completed"
    assert next(pages) == 1


async def test_reading_continues_by_time_if_the_page_token_has_expired(
    new_uow: UnitOfWorkFactory,
) -> None:
    is_expired = False

    def answer(request: httpx.Request) -> httpx.Response | None:
        if is_expired and _is_message_list(request) and "after" in request.url.params:
            return httpx.Response(400, json={"title": "Bad Request", "message": "no such cursor"})
        return None

    async with reconciliation_harness(
        new_uow, wrap=lambda inner: InterceptingTransport(inner, answer)
    ) as harness:
        for number in range(120):
            harness.receive(f"text {number}")
            harness.advance(60)
        run_id = await harness.request_run()
        await harness.work_on_run(is_over=lambda: True)
        halfway = await harness.read_run(run_id)
        is_expired = True
        asked_before = len(harness.requests)
        await harness.work_on_run(is_over=lambda: True)
        [_, again] = harness.requests[asked_before:]
        is_expired = False
        await harness.work_on_run()
        run = await harness.read_run(run_id)
        stored = await harness.messages()

    assert (halfway.status, halfway.created) == ("running", 50)
    assert "after" not in again.params
    assert again.params["createdAt[lt]"] < halfway.until.isoformat()
    assert run.status == "completed"
    assert run.created == 120
    assert len(stored) == 120


async def test_provider_with_only_v1_is_read_by_conversation(new_uow: UnitOfWorkFactory) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(404, text="Not Found") if _is_message_list(request) else None

    async with reconciliation_harness(
        new_uow, wrap=lambda inner: InterceptingTransport(inner, answer)
    ) as harness:
        for number in range(130):
            harness.receive(f"text {number}")
            harness.advance(60)
        harness.send_from_app("to another person", to="+16175550147")
        harness.call(person="+16175550148")
        harness.advance(3600)
        first = await harness.run()
        lost = harness.receive("here, and then not there")
        await harness.apply_webhook(lost)
        harness.sandbox.workspace.store._threads[(LINE, (PERSON,))].remove(lost)
        harness.advance(3600)
        second = await harness.run()

    assert (first.status, first.created, first.errors) == ("completed", 132, 0)
    assert (second.created, second.updated) == (0, 0)
    assert second.drift["unknown_there"]["examples"][0]["id"] == lost.id
    assert second.drift["unknown_there"]["count"] == 1


async def test_refused_conversation_does_not_stop_the_others(
    new_uow: UnitOfWorkFactory,
) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/v1/calls" and request.url.params["participants"] == PERSON:
            return httpx.Response(400, json={"message": "Too many", "code": "0101400"})
        return None

    async with reconciliation_harness(
        new_uow, wrap=lambda inner: InterceptingTransport(inner, answer)
    ) as harness:
        harness.call()
        harness.call(person="+16175550147")
        harness.advance(3600)
        run = await harness.run()

    assert (run.status, run.created) == ("completed", 1)
    assert run.drift["unknown_here"]["examples"][0]["kind"] == "thread"


async def test_call_is_stored_without_its_unreadable_summary(
    new_uow: UnitOfWorkFactory,
) -> None:
    is_broken = True

    def answer(request: httpx.Request) -> httpx.Response | None:
        if is_broken and request.url.path.startswith("/v1/call-summaries"):
            return httpx.Response(500, text=HTML)
        return None

    async with reconciliation_harness(
        new_uow, wrap=lambda inner: InterceptingTransport(inner, answer)
    ) as harness:
        call_id = harness.call({"with": ["recording", "summary"]})
        harness.advance(3600)
        first = await harness.run()
        is_broken = False
        second = await harness.run()
        [row] = await harness.rows("SELECT call FROM activity")

    assert (first.status, first.created) == ("completed", 1)
    example = first.drift["unknown_here"]["examples"][0]
    assert (example["id"], example["kind"]) == (call_id, "summary")
    assert second.updated == 1
    assert row["call"]["recordings"]
    assert row["call"]["summary"]["text"]


async def test_item_without_an_id_is_counted_as_an_error(new_uow: UnitOfWorkFactory) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        listed: list[Any] = [None, "text", {"direction": "incoming"}]
        page = httpx.Response(200, json={"data": listed, "nextCursor": None})
        return page if _is_message_list(request) else None

    run, _ = await _run(new_uow, answer)

    assert (run.status, run.items_seen, run.errors) == ("completed", 3, 3)


class MeetingTransport(httpx.AsyncBaseTransport):
    """Transport that forwards a request for calls only when ``TOGETHER`` such requests wait."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._barrier = asyncio.Barrier(TOGETHER)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if _is_call_list(request):
            async with asyncio.timeout(30):
                await self._barrier.wait()
        return await self._inner.handle_async_request(request)


async def test_calls_of_several_conversations_are_read_at_the_same_time(
    new_uow: UnitOfWorkFactory,
) -> None:
    async with reconciliation_harness(new_uow, wrap=MeetingTransport) as harness:
        for number in range(2 * TOGETHER):
            harness.call(person=f"+1617555{number:04d}")
        harness.advance(3600)
        run = await harness.run()

    assert (run.status, run.created, run.last_error) == ("completed", 2 * TOGETHER, None)


async def test_failed_request_does_not_repeat_the_conversations_read_with_it(
    new_uow: UnitOfWorkFactory,
) -> None:
    is_broken = True

    def answer(request: httpx.Request) -> httpx.Response | None:
        if is_broken and _is_call_list(request) and request.url.params["participants"] == PERSON:
            return httpx.Response(503, text=HTML)
        return None

    async with reconciliation_harness(
        new_uow, wrap=lambda inner: InterceptingTransport(inner, answer)
    ) as harness:
        for number in range(TOGETHER - 1):
            harness.call(person=f"+1617555{number:04d}")
        harness.call(person=PERSON)
        harness.advance(3600)
        run = await harness.run()
        assert (run.finished_at, run.created) == (None, TOGETHER - 1)

        is_broken = False
        harness.requests.clear()
        harness.advance(3600)
        await harness.work_on_run()
        run = await harness.read_run(run.id)

    asked = [url.params["participants"] for url in harness.requests if url.path == "/v1/calls"]
    assert (run.status, run.created, run.errors) == ("completed", TOGETHER, 0)
    assert asked == [PERSON]

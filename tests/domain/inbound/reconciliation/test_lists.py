"""Lists that cannot be trusted: the run ends with a reason and an alert, and nothing loops."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.conftest import NOW
from tests.domain.inbound.reconciliation.support import LINE, PERSON, Bench, Changing, bench, paths

from crm_api.domain.inbound.reconciliation import run_progress
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.inbound.reconciliation.reading import MOST_PAGES, REMEMBERED_PAGES, PageGuard
from crm_api.domain.provider.openphone.errors import OpenPhoneListError
from crm_api.domain.provider.openphone.listing import ListPage
from crm_api.platform.database import UnitOfWorkFactory

Answer = Callable[[httpx.Request], httpx.Response | None]
SAME = "a token"
HTML = "<html><body>We will be right back.</body></html>"


def _is_text_list(request: httpx.Request) -> bool:
    return request.url.path == "/messages"


def _page(*ids: str, token: str | None) -> httpx.Response:
    """Return a page of either list; every message in it is three days old."""
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


async def _to_the_end(at: Bench) -> ReconciliationRun:
    """Work until the run has ended, and let the requested waits pass."""
    run_id = await at.ask()
    for _ in range(2 * run_progress.MOST_FAILURES):
        worked = await at.work()
        run = await at.read(run_id)
        if run.finished_at is not None:
            return run
        assert worked is not None
        at.pass_by((worked.wait or timedelta(0)).total_seconds())
    raise AssertionError("the run does not end")


async def _run(new_uow: UnitOfWorkFactory, answer: Answer) -> tuple[ReconciliationRun, Bench]:
    async with bench(new_uow, wrap=lambda inner: Changing(inner, answer)) as at:
        at.receive("in the sandbox")
        at.pass_by(3600)
        return await _to_the_end(at), at


async def _failed(new_uow: UnitOfWorkFactory, answer: Answer) -> tuple[str, Bench]:
    run, at = await _run(new_uow, answer)
    alerts = await at.alerts()
    assert run.status == "failed"
    assert run.last_error is not None
    assert run.last_error in alerts["reconciliation_failed"]["detail"]
    return run.last_error, at


async def test_page_that_repeats(new_uow: UnitOfWorkFactory) -> None:
    tokens = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        if not _is_text_list(request):
            return None
        return _page("AC1", "AC2", token=f"token {next(tokens)}")

    why, at = await _failed(new_uow, answer)

    assert why == (
        "OpenPhone returned the same page of a list twice, so the list could not be read "
        "completely. Try again later."
    )
    assert paths(at.requests).count("/messages") == 2 * run_progress.MOST_FAILURES


async def test_pages_that_go_round(new_uow: UnitOfWorkFactory) -> None:
    tokens = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        if not _is_text_list(request):
            return None
        place = next(tokens)
        return _page(f"AC{place % 5}", token=f"token {place}")

    why, _ = await _failed(new_uow, answer)

    assert why == (
        "OpenPhone returned the same page of a list twice, so the list could not be read "
        "completely. Try again later."
    )


async def test_token_that_comes_again(new_uow: UnitOfWorkFactory) -> None:
    ids = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        return _page(f"AC{next(ids)}", token=SAME) if _is_text_list(request) else None

    why, _ = await _failed(new_uow, answer)

    assert why == (
        "OpenPhone returned the same page token twice, so the list could not be read completely. "
        "Try again later."
    )


async def test_empty_pages_without_end(new_uow: UnitOfWorkFactory) -> None:
    tokens = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        return _page(token=f"token {next(tokens)}") if _is_text_list(request) else None

    why, _ = await _failed(new_uow, answer)

    assert why == (
        "OpenPhone returned 3 empty pages in a row, so the list could not be read completely. Try "
        "again later."
    )


def test_list_that_goes_on_for_ever() -> None:
    watching = PageGuard(pages=MOST_PAGES - 1)

    with pytest.raises(OpenPhoneListError, match="more than 20,000 pages"):
        watching.check(ListPage(items=[{"id": "AC1"}], next_token=SAME))


def test_memory_of_a_long_list_does_not_grow() -> None:
    watching = PageGuard()
    for place in range(1_000):
        items = [{"id": f"AC{place}-{item}"} for item in range(50)]
        watching.check(ListPage(items=items, next_token=f"{place}"))

    assert len(watching._ids) == REMEMBERED_PAGES * 50


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
    ids=["html", "no object", "null", "missing", "broken off", "500"],
)
async def test_page_that_is_none(new_uow: UnitOfWorkFactory, broken: httpx.Response) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        is_second = _is_text_list(request) and "after" in request.url.params
        if is_second:
            return httpx.Response(
                broken.status_code, content=broken.content, headers=broken.headers
            )
        return _page("AC1", token=SAME) if _is_text_list(request) else None

    run, at = await _run(new_uow, answer)

    assert run.status == "failed"
    assert run.last_error
    assert set(await at.alerts()) >= {"reconciliation_failed"}
    # The items before the missing page are stored.
    assert [words for _, words, _ in await at.texts()] == ["AC1"]
    assert run.created == 1


async def test_page_that_is_missing_for_a_while_is_waited_for(new_uow: UnitOfWorkFactory) -> None:
    broken = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        if _is_text_list(request) and next(broken) < 4:
            return httpx.Response(200, text=HTML)
        return None

    run, at = await _run(new_uow, answer)

    assert run.status == "completed"
    assert (run.created, run.failures, run.last_error) == (1, 0, None)
    assert await at.alerts() == {}


async def test_key_that_is_refused_ends_the_run_at_once(new_uow: UnitOfWorkFactory) -> None:
    def answer(_request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(401, json={"message": "Unauthorized", "code": "0200401"})

    why, at = await _failed(new_uow, answer)

    assert "401" in why
    assert len(at.requests) == 1


async def test_alert_of_a_failed_run_ends_with_the_next_whole_one(
    new_uow: UnitOfWorkFactory,
) -> None:
    is_refused = True

    def answer(_request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(401, json={"message": "Unauthorized"}) if is_refused else None

    async with bench(new_uow, wrap=lambda inner: Changing(inner, answer)) as at:
        failed = await at.run()
        alerts = await at.alerts()
        is_refused = False
        whole = await at.run()

        assert (failed.status, whole.status) == ("failed", "completed")
        assert set(alerts) == {"reconciliation_failed"}
        assert await at.alerts() == {}


async def test_list_that_goes_on_beyond_the_beginning_is_left_there(
    new_uow: UnitOfWorkFactory,
) -> None:
    """The provider ignores the bound, and would list the whole history."""
    pages = itertools.count()

    def answer(request: httpx.Request) -> httpx.Response | None:
        if not _is_text_list(request):
            return None
        place = next(pages)
        assert place < 3, "read on"
        return _page(f"AC{place}", token=f"token {place}")

    async with bench(new_uow, wrap=lambda inner: Changing(inner, answer)) as at:
        at.pass_by(2 * 86_400)
        run = await at.run(since=at.clock.now - timedelta(hours=12))

    assert run.status == "completed"
    assert next(pages) == 1


async def test_token_that_is_no_longer_taken_begins_below_what_was_read(
    new_uow: UnitOfWorkFactory,
) -> None:
    is_expired = False

    def answer(request: httpx.Request) -> httpx.Response | None:
        if is_expired and _is_text_list(request) and "after" in request.url.params:
            return httpx.Response(400, json={"title": "Bad Request", "message": "no such cursor"})
        return None

    async with bench(new_uow, wrap=lambda inner: Changing(inner, answer)) as at:
        for number in range(120):
            at.receive(f"text {number}")
            at.pass_by(60)
        run_id = await at.ask()
        await at.work(is_over=lambda: True)
        halfway = await at.read(run_id)
        is_expired = True
        asked_before = len(at.requests)
        await at.work(is_over=lambda: True)
        [_, again] = at.requests[asked_before:]
        is_expired = False
        await at.work()
        run = await at.read(run_id)
        stored = await at.texts()

    assert (halfway.status, halfway.created) == ("running", 50)
    assert "after" not in again.params
    assert again.params["createdAt[lt]"] < halfway.until.isoformat()
    assert run.status == "completed"
    assert run.created == 120
    assert len(stored) == 120


async def test_host_that_has_only_v1_is_read_by_conversation(new_uow: UnitOfWorkFactory) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(404, text="Not Found") if _is_text_list(request) else None

    async with bench(new_uow, wrap=lambda inner: Changing(inner, answer)) as at:
        for number in range(130):
            at.receive(f"text {number}")
            at.pass_by(60)
        at.send_from_app("to another person", to="+16175550147")
        at.call(person="+16175550148")
        at.pass_by(3600)
        first = await at.run()
        lost = at.receive("here, and then not there")
        await at.hear(lost)
        at.sandbox.workspace.store._threads[(LINE, (PERSON,))].remove(lost)
        at.pass_by(3600)
        second = await at.run()

    assert (first.status, first.created, first.errors) == ("completed", 132, 0)
    assert (second.created, second.updated) == (0, 0)
    assert second.drift["unknown_there"]["examples"][0]["id"] == lost.id
    assert second.drift["unknown_there"]["count"] == 1


async def test_conversation_that_the_provider_refuses_stops_no_other(
    new_uow: UnitOfWorkFactory,
) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/v1/calls" and request.url.params["participants"] == PERSON:
            return httpx.Response(400, json={"message": "Too many", "code": "0101400"})
        return None

    async with bench(new_uow, wrap=lambda inner: Changing(inner, answer)) as at:
        at.call()
        at.call(person="+16175550147")
        at.pass_by(3600)
        run = await at.run()

    assert (run.status, run.created) == ("completed", 1)
    assert run.drift["unknown_here"]["examples"][0]["kind"] == "thread"


async def test_call_is_taken_over_without_what_cannot_be_read_beside_it(
    new_uow: UnitOfWorkFactory,
) -> None:
    is_broken = True

    def answer(request: httpx.Request) -> httpx.Response | None:
        if is_broken and request.url.path.startswith("/v1/call-summaries"):
            return httpx.Response(500, text=HTML)
        return None

    async with bench(new_uow, wrap=lambda inner: Changing(inner, answer)) as at:
        call_id = at.call({"with": ["recording", "summary"]})
        at.pass_by(3600)
        first = await at.run()
        is_broken = False
        second = await at.run()
        [row] = await at.rows("SELECT call FROM activity")

    assert (first.status, first.created) == ("completed", 1)
    example = first.drift["unknown_here"]["examples"][0]
    assert (example["id"], example["kind"]) == (call_id, "summary")
    assert second.updated == 1
    assert row["call"]["recordings"]
    assert row["call"]["summary"]["text"]


async def test_item_without_an_id_is_counted(new_uow: UnitOfWorkFactory) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        listed: list[Any] = [None, "text", {"direction": "incoming"}]
        page = httpx.Response(200, json={"data": listed, "nextCursor": None})
        return page if _is_text_list(request) else None

    run, _ = await _run(new_uow, answer)

    assert (run.status, run.items_seen, run.errors) == ("completed", 3, 3)

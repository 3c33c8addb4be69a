from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.domain.provider.openphone.samples import check_query
from tests.measuring import measured

from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneListError,
    OpenPhoneRefusedError,
    UnreadableEventError,
)
from crm_api.domain.provider.openphone.reading import MAX_PAGES, MOST_BYTES

PERSON = "+16175550123"
AFTER = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)

Answer = Callable[[httpx.Request], httpx.Response]


class Provider:
    """A provider that returns the given responses in order, and records requests and waits."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []
        self._answers = list(answers)

    def client(self) -> OpenPhoneClient:
        return OpenPhoneClient(
            base_url="https://api.quo.com",
            api_key="bare",
            transport=httpx.MockTransport(self._answer),
            sleep=self._sleep,
        )

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def _page(*ids: str, following: str | None, **more: Any) -> httpx.Response:
    listed = [
        {"id": one, "direction": "outgoing", "createdAt": "2026-11-25T15:00:00Z"} for one in ids
    ]
    body = {"data": listed, "totalItems": 1, "nextPageToken": following, "nextCursor": following}
    return httpx.Response(200, json=body | more)


def _calls(outcome: str, operation: str = "GET /v1/messages") -> float:
    return measured("crm_provider_call_seconds_count", operation=operation, outcome=outcome)


async def _list(provider: Provider) -> list[str]:
    client = provider.client()
    found = client.list_messages(
        phone_number_id="PN1", participant=PERSON, created_after=AFTER, created_before=AFTER
    )
    return [message.provider_message_id async for message in found]


async def test_list_is_read_until_the_token_is_null() -> None:
    provider = Provider(
        _page("AC1", "AC2", following="t1"), _page(following="t2"), _page("AC3", following=None)
    )

    assert await _list(provider) == ["AC1", "AC2", "AC3"]
    assert [request.url.params.get("pageToken") for request in provider.requests] == [
        None,
        "t1",
        "t2",
    ]


async def test_list_query_matches_the_description_of_the_provider() -> None:
    provider = Provider(_page(following=None))

    await _list(provider)

    (request,) = provider.requests
    params = request.url.params
    query: dict[str, Any] = dict(params) | {
        "participants": params.get_list("participants"),
        "maxResults": int(params["maxResults"]),
    }
    check_query("GET /v1/messages", query)
    assert "participants=%2B16175550123" in str(request.url)
    assert params["createdAfter"] == "2026-11-25T15:00:00.000Z"


async def test_repeated_token_is_an_error() -> None:
    provider = Provider(_page("AC1", following="t1"))

    with pytest.raises(OpenPhoneListError, match="same page token"):
        await _list(provider)

    assert len(provider.requests) == 2


async def test_list_of_too_many_pages_is_an_error() -> None:
    provider = Provider(*(_page(following=f"t{number}") for number in range(MAX_PAGES + 1)))

    with pytest.raises(OpenPhoneListError, match="more than 1000 pages"):
        await _list(provider)


async def test_page_without_data_is_an_error() -> None:
    provider = Provider(httpx.Response(200, json={"nextPageToken": None}))

    with pytest.raises(OpenPhoneListError, match="without data"):
        await _list(provider)


async def test_workspace_list_sends_its_version_and_filters() -> None:
    provider = Provider(_page("AC1", following="c1"), _page("AC2", following=None))
    lists = provider.client().lists

    pages = [
        await lists.workspace_messages(after=AFTER, before=None, token=token)
        for token in (None, "c1")
    ]

    assert [(page.items[0]["id"], page.next_token) for page in pages] == [
        ("AC1", "c1"),
        ("AC2", None),
    ]
    first, second = provider.requests
    assert first.url.path == "/messages"
    assert first.headers["quo-api-version"] == "2026-03-30"
    assert dict(first.url.params) == {
        "createdAt[gt]": "2026-11-25T15:00:00.000Z",
        "limit": "50",
    }
    assert second.url.params["after"] == "c1"


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (httpx.Response(429, json={"message": "slow down"}), "429"),
        (httpx.Response(500, text="oops"), "5xx"),
        (httpx.Response(200, text="no json"), "2xx"),
        (httpx.ReadTimeout("late"), "timeout"),
        (httpx.ConnectError("refused"), "no_answer"),
        (ConnectionResetError("reset"), "no_answer"),
    ],
    ids=["429", "500", "no json", "timeout", "refused", "reset"],
)
async def test_failed_read_is_repeated(failure: httpx.Response | Exception, outcome: str) -> None:
    provider = Provider(failure, failure, _page("AC1", following=None))
    before = _calls(outcome)

    assert await _list(provider) == ["AC1"]
    assert len(provider.waits) == 2
    assert _calls(outcome) - before == (3 if outcome == "2xx" else 2)


async def test_throttled_read_is_repeated_four_times() -> None:
    provider = Provider(httpx.Response(429, json={}, headers={"retry-after": "3"}))

    with pytest.raises(OpenPhoneBusyError) as caught:
        await provider.client().list_phone_numbers()

    assert len(provider.requests) == 5
    assert provider.waits[:3] == [3.0, 3.0, 3.0]
    assert caught.value.retry_after_seconds == 3.0
    assert caught.value.is_throttled


async def test_read_fails_after_three_requests_if_the_provider_is_down() -> None:
    provider = Provider(httpx.Response(503))

    with pytest.raises(OpenPhoneBusyError) as caught:
        await provider.client().list_phone_numbers()

    assert len(provider.requests) == 3
    assert 0.25 <= provider.waits[0] <= 0.75
    assert 1.0 <= provider.waits[1] <= 3.0
    assert not caught.value.is_throttled


async def test_throttled_change_is_repeated_and_a_failed_change_is_not() -> None:
    throttled = httpx.Response(429, json={}, headers={"retry-after": "3"})
    patient = Provider(throttled, throttled, httpx.Response(204))
    await patient.client().hooks.update_dated("7", status="enabled")

    failed = Provider(httpx.Response(503))
    with pytest.raises(OpenPhoneBusyError):
        await failed.client().hooks.update_dated("7", status="enabled")

    assert (len(patient.requests), patient.waits) == (3, [3.0, 3.0])
    assert (len(failed.requests), failed.waits) == (1, [])


async def test_read_fails_at_once_if_the_requested_wait_is_long() -> None:
    provider = Provider(httpx.Response(429, json={}, headers={"retry-after": "3600"}))

    with pytest.raises(OpenPhoneBusyError):
        await provider.client().hooks.list_legacy()

    assert (len(provider.requests), provider.waits) == (1, [])


@pytest.mark.parametrize(
    "body",
    [
        {"message": "Not found", "code": "0200404", "status": 404},
        {"error": {"message": "Not found", "code": "0200404"}},
    ],
    ids=["flat", "nested"],
)
async def test_refused_read_is_not_repeated(body: dict[str, Any]) -> None:
    provider = Provider(httpx.Response(404, json=body))
    operation = "GET /webhooks/{id}/events/{id}"
    before = _calls("4xx", operation)

    with pytest.raises(OpenPhoneRefusedError) as caught:
        await provider.client().hooks.delivery("WH/../1", "msg_1")

    assert (caught.value.status, caught.value.provider_code) == (404, "0200404")
    assert "Not found" in caught.value.detail
    assert len(provider.requests) == 1
    assert provider.requests[0].url.raw_path == b"/webhooks/WH%2F..%2F1/events/msg_1"
    assert _calls("4xx", operation) == before + 1


async def test_unreadable_item_is_an_error_and_not_left_out() -> None:
    provider = Provider(_page(following=None, data=[{"id": "AC1"}]))

    with pytest.raises(UnreadableEventError):
        await _list(provider)


@pytest.mark.parametrize("header", ["nan", "inf", "-5", "0", "9" * 400])
async def test_invalid_retry_after_is_replaced_by_the_usual_wait(header: str) -> None:
    throttled = httpx.Response(429, json={}, headers={"retry-after": header})
    provider = Provider(throttled, _page("AC1", following=None))

    assert await _list(provider) == ["AC1"]
    assert 0.25 <= provider.waits[0] <= 0.75


async def test_long_wait_is_granted_in_part_and_reported_in_full() -> None:
    provider = Provider(httpx.Response(429, json={}, headers={"retry-after": "1e18"}))

    with pytest.raises(OpenPhoneBusyError) as caught:
        await _list(provider)

    assert (caught.value.retry_after_seconds, caught.value.retry_after_asked) == (600.0, 1e18)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b" " * (MOST_BYTES + 1)),
        httpx.Response(200, json=["no object"]),
        httpx.Response(200, content=b"\x00"),
        httpx.Response(500, content=b"x" * (MOST_BYTES + 1)),
    ],
    ids=["too long", "list", "NUL", "500 too long"],
)
async def test_unreadable_response_counts_as_no_response(answer: httpx.Response) -> None:
    with pytest.raises(OpenPhoneBusyError):
        await _list(Provider(answer))


@pytest.mark.parametrize("location", ["https://api.quo.com/elsewhere", "http://[broken", "\x01"])
async def test_read_does_not_follow_a_redirect(location: str) -> None:
    provider = Provider(httpx.Response(302, headers={"location": location}))

    with pytest.raises((OpenPhoneRefusedError, OpenPhoneBusyError)):
        await provider.client().hooks.list_legacy()

    assert {request.url.path for request in provider.requests} == {"/v1/webhooks"}


async def test_throttled_change_of_a_webhook_fails_with_the_granted_wait() -> None:
    provider = Provider(httpx.Response(429, json={}, headers={"retry-after": "31536000"}))

    with pytest.raises(OpenPhoneBusyError) as caught:
        await provider.client().hooks.rotate("WH1")

    assert caught.value.retry_after_seconds == 600.0
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "data",
    [
        [{"id": "A" * 5000, "direction": "outgoing", "createdAt": "2026-11-25T15:00:00Z"}],
        [{"id": "AC1", "direction": "outgoing", "createdAt": "0001-01-01T00:00:00Z"}],
        [{"id": "AC1", "direction": "outgoing", "createdAt": 1e300}],
        [7],
    ],
    ids=["long id", "year 1", "1e300", "number"],
)
async def test_item_with_invalid_members_is_unreadable(data: list[Any]) -> None:
    with pytest.raises(UnreadableEventError):
        await _list(Provider(_page(following=None, data=data)))

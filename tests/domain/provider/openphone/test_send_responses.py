from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from crm_api.domain.provider.openphone.send_responses import (
    ResponseKind,
    classify_send_response,
    read_json,
)

DATE = "Wed, 25 Nov 2026 15:00:00 GMT"
PERSON = "+16175550123"


def _classify(status: int, body: Any, **headers: str) -> Any:
    return classify_send_response(
        httpx.Response(status, json=body, headers={"date": DATE, **headers})
    )


@pytest.mark.parametrize("status", [200, 201, 202])
def test_success_with_an_id_is_accepted(status: int) -> None:
    answer = _classify(
        status,
        {"data": {"id": "AC1", "status": "queued", "createdAt": "2026-11-25T14:59:59.500Z"}},
    )

    assert answer.kind is ResponseKind.ACCEPTED
    assert answer.provider_message_id == "AC1"
    assert answer.provider_created_at == datetime(2026, 11, 25, 14, 59, 59, 500_000, tzinfo=UTC)
    assert answer.server_date == datetime(2026, 11, 25, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": None}, [], "ok"])
def test_success_without_an_id_is_unclear_and_marked_as_without_id(body: Any) -> None:
    answer = _classify(202, body)

    assert answer.kind is ResponseKind.UNCLEAR
    assert answer.no_id


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "0206400", "a2p_not_approved"),
        (401, None, "unauthorized"),
        (401, "0200401", "unauthorized"),
        (402, "0200402", "no_credits"),
        (402, None, "no_credits"),
        (402, "0201402", "subscription_expired"),
        (403, "0204403", "daily_cap"),
        (403, "0202403", "not_number_user"),
        (404, "0200404", "number_not_found"),
        (404, None, "number_not_found"),
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_refusal_that_concerns_the_account_has_its_reason(
    status: int, code: str | None, reason: str, *, is_nested: bool
) -> None:
    problem = {"message": f"Refused for {PERSON}", **({"code": code} if code else {})}

    answer = _classify(status, {"error": problem} if is_nested else problem)

    assert answer.kind is ResponseKind.ACCOUNT_REFUSED
    assert (answer.scope, answer.reason) == ("line", reason)
    assert answer.code == (code or f"http_{status}")
    assert PERSON not in answer.detail


@pytest.mark.parametrize(
    ("status", "code"), [(400, None), (400, "0201400"), (403, None), (403, "0203403")]
)
def test_refusal_that_concerns_one_message_has_no_scope(status: int, code: str | None) -> None:
    answer = _classify(status, {"message": "no", "code": code})

    assert answer.kind is ResponseKind.REFUSED
    assert (answer.scope, answer.reason) == (None, None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 25 Nov 2026 15:00:30 GMT"}, 30.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_throttled_response_has_the_requested_wait(
    header: dict[str, str], seconds: float | None
) -> None:
    answer = _classify(429, {"message": "slow down"}, **header)

    assert answer.kind is ResponseKind.LATER
    assert answer.retry_after_seconds == seconds


@pytest.mark.parametrize("status", [301, 307, 405, 408, 409, 410, 413, 422, 500, 502, 503, 504])
def test_response_with_another_status_is_unclear(status: int) -> None:
    answer = _classify(status, {"message": "?"})

    assert answer.kind is ResponseKind.UNCLEAR
    assert not answer.no_id
    assert answer.http_status == status


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'{"text": "half a pair: \ud83d"}', {"text": "half a pair: \ud83d"}),
        (b'{"text": NaN}', None),
        (b"[" * 100_000, None),
        (b'{"text": "\xff"}', None),
        (b"", None),
    ],
    ids=["half a surrogate pair", "not a number", "deep", "not UTF-8", "empty"],
)
def test_unusual_body_is_read_as_json_or_none(body: bytes, value: object) -> None:
    assert read_json(httpx.Response(200, content=body)) == value


def test_response_that_is_not_json_is_classified_by_its_status() -> None:
    response = httpx.Response(502, text="<html>Bad Gateway</html>", headers={"date": "yesterday"})

    answer = classify_send_response(response)

    assert (answer.kind, answer.code) == (ResponseKind.UNCLEAR, "http_502")
    assert answer.server_date is None

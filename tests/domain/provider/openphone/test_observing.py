"""Each request to the provider writes one log line, without ids, numbers and bodies.

The level is debug if the request succeeds.
"""

import logging
from collections.abc import Iterator, MutableMapping
from typing import Any

import httpx
import pytest
import structlog

from crm_api.domain.provider.openphone import observing
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError, OpenPhoneRefusedError

Lines = list[MutableMapping[str, Any]]
PERSON = "+16175550123"


@pytest.fixture
def log_lines() -> Iterator[Lines]:
    level = logging.getLogger(observing.__name__)
    level.setLevel(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        yield lines
    level.setLevel(logging.NOTSET)


def provider(answer: httpx.Response | Exception) -> OpenPhoneClient:
    def call(_request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def no_wait(_seconds: float) -> None:
        return

    return OpenPhoneClient(
        base_url="https://api.quo.com",
        api_key="bare",
        transport=httpx.MockTransport(call),
        sleep=no_wait,
    )


async def test_successful_call_is_logged_at_level_debug(log_lines: Lines) -> None:
    async with provider(httpx.Response(200, json={"data": []})) as client:
        async for _ in client.list_messages(phone_number_id="PN1", participant=PERSON):
            pass

    line = log_lines[0]
    assert line.pop("duration_ms") >= 0
    assert log_lines == [
        {
            "event": "provider request completed",
            "log_level": "debug",
            "method": "GET",
            "path": "/v1/messages",
            "status": 200,
            "error": None,
        }
    ]


async def test_refusal_is_logged_as_a_warning_without_the_id_of_its_path(log_lines: Lines) -> None:
    async with provider(httpx.Response(404, json={"message": f"{PERSON} is not here"})) as client:
        with pytest.raises(OpenPhoneRefusedError):
            await client.hooks.delivery("WHabc123", "msg_1")

    logged = [(line["log_level"], line["path"], line["status"]) for line in log_lines]
    assert logged == [("warning", "/webhooks/{id}/events/{id}", 404)]
    assert PERSON not in str(log_lines)


async def test_each_request_without_a_response_is_logged_as_a_warning(log_lines: Lines) -> None:
    async with provider(httpx.ConnectError("refused")) as client:
        with pytest.raises(OpenPhoneBusyError):
            await client.list_phone_numbers()

    assert len(log_lines) > 1
    assert {(line["log_level"], line["error"]) for line in log_lines} == {
        ("warning", "ConnectError")
    }

"""A slow name server delays only the look-ups of its own names."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from tests.conftest import NOW
from tests.domain.outbound.webhook_deliveries.receiver import receiver
from tests.domain.outbound.webhook_deliveries.test_sender import SANDBOX

from crm_api.domain.outbound.webhook_deliveries.sender import PatientResolver, WebhookSender


class NameServer:
    """Server that knows all names but one, delays one name, and counts the look-ups."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.may_answer = Event()

    def look_up(self, host: str, port: int, _family: int) -> list[tuple[int, int, int, str, Any]]:
        self.asked[host] += 1
        if host == "silent.example":
            self.may_answer.wait(30)
        if host == "nobody.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.may_answer.set()


async def test_name_without_an_answer_uses_one_thread_for_all_requests(server: NameServer) -> None:
    resolver = PatientResolver(server.look_up)
    waiting = [asyncio.create_task(resolver.resolve("silent.example", 443)) for _ in range(100)]

    found = await resolver.resolve("good.example", 443)

    assert [one["host"] for one in found] == ["127.0.0.1"]
    assert not any(task.done() for task in waiting)
    server.may_answer.set()
    assert all(await asyncio.gather(*waiting))
    assert server.asked == {"silent.example": 1, "good.example": 1}
    await resolver.close()


async def test_each_resolve_looks_the_name_up_again(server: NameServer) -> None:
    resolver = PatientResolver(server.look_up)
    for _ in range(3):
        await resolver.resolve("good.example", 443)
        with pytest.raises(OSError, match="not known"):
            await resolver.resolve("nobody.example", 443)
    await resolver.close()

    assert server.asked == {"good.example": 3, "nobody.example": 3}


async def test_deliveries_that_time_out_share_one_look_up_and_delay_no_other_name(
    server: NameServer,
) -> None:
    async with (
        receiver() as host,
        WebhookSender(
            SANDBOX, timeout_seconds=0.5, resolver=PatientResolver(server.look_up)
        ) as sender,
    ):

        async def post(name: str) -> str | None:
            url = f"https://{name}:{host.port}/"
            return (await sender.post(url, body="{}", headers={}, now=NOW)).error_code

        silent = await asyncio.gather(*(post("silent.example") for _ in range(5)))
        unknown = await post("nobody.example")

    assert silent == ["timeout"] * 5
    assert unknown == "unknown_host"
    assert server.asked["silent.example"] == 1

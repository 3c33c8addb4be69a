"""Deliveries are posted only to public addresses, and every form of response is handled safely."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
import pytest_asyncio
from tests.conftest import NOW
from tests.domain.messaging.media.hosts import FakeResolver, in_chunks, media_host, reply
from tests.domain.outbound.webhook_deliveries.receiver import Receiver, receiver

from crm_api.domain.kit.addresses import ANY_PORT, AddressPolicy
from crm_api.domain.outbound.webhook_deliveries.schedule import EndpointResponse
from crm_api.domain.outbound.webhook_deliveries.sender import KEPT_OF_ANSWER, WebhookSender

BODY = '{"type":"webhook.test"}'
SANDBOX = AddressPolicy(ports=ANY_PORT, loopback_ports=ANY_PORT, needs_tls=True)
REAL = AddressPolicy(ports=ANY_PORT, needs_tls=True)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Receiver]:
    async with receiver() as server:
        yield server


async def post(
    url: str, *, policy: AddressPolicy = SANDBOX, timeout_seconds: float = 5.0, **options: Any
) -> EndpointResponse:
    async with WebhookSender(policy, timeout_seconds=timeout_seconds, **options) as sender:
        return await sender.post(url, body=BODY, headers={"webhook-id": "1"}, now=NOW)


async def test_body_and_headers_arrive_unchanged(server: Receiver) -> None:
    server.answer(200, body=b"thank you")

    got = await post(server.url())

    (received,) = server.received
    assert received.body == BODY
    assert received.headers["content-type"] == "application/json"
    assert received.headers["webhook-id"] == "1"
    assert (got.status, got.error_code, got.body) == (200, None, "thank you")
    assert got.has_arrived


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
async def test_error_response_is_a_failure(server: Receiver, status: int) -> None:
    server.answer(status, headers={"retry-after": "60"}, body=b"no")

    got = await post(server.url())

    assert (got.status, got.error_code, got.body) == (status, f"http_{status}", "no")
    assert got.retry_after is not None
    assert got.retry_after.total_seconds() == 60


async def test_redirect_is_not_followed(server: Receiver) -> None:
    server.answer(307, headers={"location": server.url("/elsewhere")})

    got = await post(server.url())

    assert got.error_code == "http_307"
    assert "Redirects are not followed" in str(got.detail)
    assert [one.path for one in server.received] == ["/hook"]


async def test_beginning_of_a_long_response_is_kept(server: Receiver) -> None:
    server.answer(200, body=b"\x00\xff" + b"x" * 1_000_000)

    got = await post(server.url())

    assert got.has_arrived
    assert got.body is not None
    assert got.body.startswith("\ufffd\ufffdxxx")
    assert len(got.body) == KEPT_OF_ANSWER


async def test_response_that_breaks_off_still_has_its_status() -> None:
    async with media_host() as host:
        url = host.serve("/1", in_chunks(b"thank", ends=False))

        got = await post(url)

    assert (got.status, got.body) == (200, "thank")


async def test_endpoint_without_a_response_times_out(server: Receiver) -> None:
    server.hanging.add("/hook")

    got = await post(server.url(), timeout_seconds=0.05)

    assert (got.status, got.error_code) == (None, "timeout")
    assert got.duration_ms >= 50


async def test_closed_port_is_unreachable() -> None:
    async with media_host() as host:
        url = host.url("/1")

    got = await post(url)

    assert got.error_code == "unreachable"


async def test_response_that_is_not_http_is_unreachable() -> None:
    async with media_host() as host:
        got = await post(host.serve("/1", b"SMTP ready\r\n"))

    assert got.error_code == "unreachable"


async def test_unknown_name_has_its_own_error_code() -> None:
    got = await post("https://nowhere.example/hook", resolver=FakeResolver())

    assert got.error_code == "unknown_host"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://169.254.169.254/latest/meta-data", "forbidden_address"),
        ("https://[fd00:ec2::254]/", "forbidden_address"),
        ("https://100.100.100.200/", "forbidden_address"),
        ("https://[::ffff:10.0.0.1]/", "forbidden_address"),
        ("https://[64:ff9b::a00:1]/", "forbidden_address"),
        ("https://127.0.0.1/", "forbidden_address"),
        ("https://inside.example/", "forbidden_address"),
        ("https://half.example/", "forbidden_address"),
        ("http://public.example/", "insecure"),
        ("https://user:secret@public.example/", "bad_address"),
        ("gopher://public.example/", "bad_address"),
        ("https://public.example:0/", "forbidden_port"),
    ],
)
async def test_address_that_is_not_public_is_never_connected_to(url: str, code: str) -> None:
    names = FakeResolver(
        inside_example=[["10.0.0.7"]],
        half_example=[["8.8.8.8", "fd00::1"]],
        public_example=[["8.8.8.8"]],
    )

    got = await post(url, policy=REAL, resolver=names)

    assert (got.status, got.error_code) == (None, code)


class OnlyTheSecond(AddressPolicy):
    """Policy for which 127.0.0.2 is public and 127.0.0.1 is private; a test can connect to both."""

    def allows(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        return address == IPv4Address("127.0.0.2") and port in self.ports


async def test_name_that_changes_to_a_private_address_is_refused() -> None:
    """Test DNS rebinding: the name has a public address first, then a private address.

    The sender connects only to the address that it checked.
    """
    async with media_host("127.0.0.2") as good:
        names = FakeResolver(rebinds_example=[["127.0.0.2"], ["127.0.0.1"]])
        good.serve("/1", reply(b"", status=200))
        url = f"http://rebinds.example:{good.port}/1"
        policy = OnlyTheSecond(ports=ANY_PORT)

        first = await post(url, policy=policy, resolver=names)
        second = await post(url, policy=policy, resolver=names)

    assert first.has_arrived
    assert second.error_code == "forbidden_address"
    assert good.paths == ["/1"]


async def test_connection_to_the_checked_address_is_reused() -> None:
    """Test that later deliveries to a host reuse the connection whose address was checked."""
    async with receiver() as server:
        names = FakeResolver(stays_example=[["127.0.0.1"], ["10.0.0.1"]])
        url = f"http://stays.example:{server.port}/hook"
        policy = AddressPolicy(loopback_ports=ANY_PORT)
        async with WebhookSender(policy, timeout_seconds=5.0, resolver=names) as sender:
            got = [await sender.post(url, body=BODY, headers={}, now=NOW) for _ in range(3)]

    assert [one.status for one in got] == [204, 204, 204]
    assert names.asked == ["stays.example"]

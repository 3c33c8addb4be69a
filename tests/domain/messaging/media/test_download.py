import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
import pytest_asyncio
from tests.domain.messaging.media.hosts import (
    PICTURE,
    SOUND,
    FakeResolver,
    MediaHost,
    in_chunks,
    media_host,
    reply,
)

from crm_api.domain.kit.addresses import AddressPolicy
from crm_api.domain.messaging.media.download import DownloadedFile, Downloader, DownloadLimits
from crm_api.domain.messaging.media.errors import FetchError

LIMIT = 100_000


@pytest_asyncio.fixture
async def host() -> AsyncIterator[MediaHost]:
    async with media_host() as host:
        yield host


async def fetch(host: MediaHost, url: str, **options: Any) -> tuple[DownloadedFile, bytes]:
    """Download a file; loopback addresses are allowed at the port of the host.

    The setting for the sandbox allows the same.
    """
    options.setdefault("provider_url", host.url(""))
    policy = options.pop("policy", AddressPolicy(loopback_ports={host.port}))
    limit = options.pop("limit", LIMIT)
    into = io.BytesIO()
    async with Downloader(policy, **options) as downloader:
        received = await downloader.fetch(url, limit=limit, into=into)
    return received, into.getvalue()


async def refusal(host: MediaHost, url: str, **options: Any) -> tuple[str, bool]:
    with pytest.raises(FetchError) as refused:
        await fetch(host, url, **options)
    return refused.value.code, refused.value.is_final


async def test_file_is_downloaded_with_its_hash(host: MediaHost) -> None:
    url = host.serve("/1", reply(PICTURE))

    received, written = await fetch(host, url)

    assert written == PICTURE
    assert received.sha256 == hashlib.sha256(PICTURE).hexdigest()
    assert received.size_bytes == len(PICTURE)
    assert PICTURE.startswith(received.head)


async def test_file_sent_in_chunks_is_complete(host: MediaHost) -> None:
    url = host.serve("/1", in_chunks(SOUND[:5000], SOUND[5000:]))

    _, written = await fetch(host, url)

    assert written == SOUND


async def test_encoded_address_is_requested_unchanged(host: MediaHost) -> None:
    path = "/a%2Fb/c%20d.jpg?sig=A%2bb%3D%3d&x=%7E~&y=1+2"
    url = host.serve(path, reply(PICTURE))

    await fetch(host, url)

    assert host.paths == [path]


async def test_unencoded_address_is_requested_encoded(host: MediaHost) -> None:
    host.serve("/Fa%C3%A7ade%201.jpg", reply(PICTURE))

    _, written = await fetch(host, host.url("/Façade 1.jpg"))

    assert written == PICTURE


async def test_three_redirects_are_followed_and_a_fourth_is_not(host: MediaHost) -> None:
    host.serve("/1", reply(status=302, location="/2"))
    host.serve("/2", reply(status=307, location=host.url("/3")))
    host.serve("/3", reply(status=301, location="4"))
    host.serve("/4", reply(PICTURE))
    host.serve("/0", reply(status=303, location="/1"))

    _, written = await fetch(host, host.url("/1"))

    assert written == PICTURE
    assert await refusal(host, host.url("/0")) == ("too_many_redirects", True)


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://10.0.0.1/", "forbidden_address"),
        ("http://169.254.169.254/latest/meta-data/", "forbidden_address"),
        ("http://127.0.0.1/", "forbidden_address"),
        ("http://[::ffff:127.0.0.1]/", "forbidden_address"),
        ("//192.168.0.1/router", "forbidden_address"),
        ("http://inside.example/", "forbidden_address"),
        ("http://half.example/", "forbidden_address"),
        ("http://2130706433/", "bad_address"),
        ("http://127.1/", "bad_address"),
        ("file:///etc/passwd", "bad_address"),
        ("https://user:secret@media.example.com/", "bad_address"),
        ("http://media.example.com:6379/", "forbidden_port"),
    ],
)
async def test_redirect_to_a_forbidden_address_is_refused(
    host: MediaHost, location: str, code: str
) -> None:
    url = host.serve("/1", reply(status=302, location=location))
    names = FakeResolver(inside_example=[["127.0.0.1"]], half_example=[["8.8.8.8", "fd00::1"]])

    assert await refusal(host, url, resolver=names) == (code, True)
    assert host.paths == ["/1"]


async def test_loopback_in_another_notation_is_refused(host: MediaHost) -> None:
    url = host.serve("/1", reply(status=302, location="http://0x7f.0.0.1/"))

    assert await refusal(host, url) == ("forbidden_address", True)


async def test_redirect_without_an_address_is_tried_again_later(host: MediaHost) -> None:
    url = host.serve("/1", reply(status=302))

    assert await refusal(host, url) == ("bad_redirect", False)


class SecondLoopbackOnly(AddressPolicy):
    """Policy for which 127.0.0.2 is public and 127.0.0.1 is private; a test can connect to both."""

    def allows(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        return address == IPv4Address("127.0.0.2") and port in self.loopback_ports


async def test_host_that_changes_its_address_between_lookups_is_refused() -> None:
    """Test DNS rebinding: the name has a public address first, then a private address.

    Each request checks the address, and connects to the address that it checked.
    """
    async with media_host("127.0.0.2") as good:
        names = FakeResolver(rebinds_example=[["127.0.0.2"], ["127.0.0.1"]])
        good.serve("/1", reply(PICTURE))
        policy = SecondLoopbackOnly(loopback_ports={good.port})
        url = f"http://rebinds.example:{good.port}/1"

        _, written = await fetch(good, url, policy=policy, resolver=names)
        second = await refusal(good, url, policy=policy, resolver=names)

        assert written == PICTURE
        assert second == ("forbidden_address", True)
        assert names.asked == ["rebinds.example", "rebinds.example"]
        assert good.paths == ["/1"]


async def test_host_that_redirects_to_itself_at_another_address_is_refused() -> None:
    async with media_host("127.0.0.2") as good:
        names = FakeResolver(rebinds_example=[["127.0.0.2"], ["127.0.0.1"]])
        good.serve("/1", reply(status=302, location="/2"))
        policy = SecondLoopbackOnly(loopback_ports={good.port})

        refused = await refusal(
            good, f"http://rebinds.example:{good.port}/1", policy=policy, resolver=names
        )

        assert refused == ("forbidden_address", True)
        assert good.paths == ["/1"]


async def test_without_the_sandbox_loopback_is_refused(host: MediaHost) -> None:
    url = host.serve("/1", reply(PICTURE))

    assert await refusal(host, url, policy=AddressPolicy()) == ("forbidden_port", True)
    assert host.requests == []


async def test_unknown_host_is_tried_again_later(host: MediaHost) -> None:
    assert await refusal(host, "http://gone.example/1", resolver=FakeResolver()) == (
        "unreachable",
        False,
    )


async def test_proxy_in_the_environment_is_not_used(
    host: MediaHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    url = host.serve("/1", reply(PICTURE))

    _, written = await fetch(host, url)

    assert written == PICTURE


@pytest.mark.parametrize("answer", [reply(b"x" * 60, length=60), in_chunks(b"x" * 40, b"x" * 20)])
async def test_download_stops_at_the_limit(host: MediaHost, answer: bytes) -> None:
    url = host.serve("/1", answer)
    into = io.BytesIO()

    async with Downloader(
        AddressPolicy(loopback_ports={host.port}), provider_url=host.url("")
    ) as downloader:
        with pytest.raises(FetchError) as refused:
            await downloader.fetch(url, limit=59, into=into)

    assert (refused.value.code, refused.value.is_final) == ("too_large", True)
    assert len(into.getvalue()) <= 59


async def test_file_of_exactly_the_limit_is_downloaded(host: MediaHost) -> None:
    url = host.serve("/1", reply(b"x" * 60))

    received, _ = await fetch(host, url, limit=60)

    assert received.size_bytes == 60


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (reply(PICTURE, length=len(PICTURE) + 5), ("truncated", False)),
        (in_chunks(PICTURE, ends=False), ("truncated", False)),
        (reply(b"gone", status=404), ("http_404", False)),
        (reply(b"sorry", status=500), ("http_500", False)),
        (reply(status=204), ("http_204", False)),
        (reply(PICTURE, status=206), ("http_206", False)),
        (reply(b""), ("empty", False)),
        (reply(PICTURE, content_encoding="gzip"), ("packed", True)),
        (b"220 mail.example.com ESMTP\r\n", ("unreachable", False)),
        (b"", ("unreachable", False)),
    ],
)
async def test_response_without_a_complete_file_is_refused_with_its_code(
    host: MediaHost, answer: bytes, outcome: tuple[str, bool]
) -> None:
    url = host.serve("/1", answer)

    assert await refusal(host, url) == outcome


async def test_host_that_never_responds_times_out(host: MediaHost) -> None:
    host.silent.add("/1")

    async with asyncio.timeout(10):
        for limits in (
            DownloadLimits(silence=0.1, whole=60),
            DownloadLimits(silence=60, whole=0.1),
        ):
            assert await refusal(host, host.url("/1"), limits=limits) == ("timeout", False)


@pytest.mark.parametrize("url", ["", "x" * 9000, "http://[::1", "http://a\nb/", "ht tp://x/", "\0"])
async def test_string_that_is_not_an_address_is_refused(host: MediaHost, url: str) -> None:
    assert await refusal(host, url) == ("bad_address", True)


async def test_api_key_is_sent_only_to_the_provider(host: MediaHost) -> None:
    async with media_host("127.0.0.2", port=host.port) as other:
        host.serve("/own", reply(status=302, location=other.url("/1")))
        other.serve("/1", reply(PICTURE))

        await fetch(host, host.url("/own"), api_key="the provider's key")
        await fetch(host, other.url("/1"), api_key="the provider's key")

        assert [one.headers.get("authorization") for one in host.requests] == ["the provider's key"]
        assert [one.headers.get("authorization") for one in other.requests] == [None, None]


async def test_api_key_is_not_sent_to_another_port_of_the_providers_host(host: MediaHost) -> None:
    url = host.serve("/1", reply(PICTURE))

    await fetch(host, url, api_key="the provider's key", provider_url="http://127.0.0.1:1")
    await fetch(
        host, url, api_key="the provider's key", provider_url=f"https://127.0.0.1:{host.port}"
    )

    assert [one.headers.get("authorization") for one in host.requests] == [None, None]


async def test_no_cookie_is_kept_between_requests(host: MediaHost) -> None:
    url = host.serve("/1", reply(PICTURE, set_cookie="id=1; Path=/"))
    policy = AddressPolicy(loopback_ports={host.port})

    async with Downloader(policy, provider_url=host.url("")) as downloader:
        for _ in range(2):
            await downloader.fetch(url, limit=LIMIT, into=io.BytesIO())

    assert len(host.requests) == 2
    assert all({"authorization", "cookie"}.isdisjoint(one.headers) for one in host.requests)

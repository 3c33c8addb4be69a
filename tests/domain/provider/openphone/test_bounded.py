"""A response is read only up to a maximum size, even if its headers claim another size."""

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest

from crm_api.domain.provider.openphone.reading import ResponseTooLongError, read_bounded

MOST = 1_000


class Parts(httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), 100):
            yield self._content[start : start + 100]

    async def aclose(self) -> None:
        self.is_closed = True


def response(content: bytes, *, is_compressed: bool) -> tuple[httpx.Response, Parts]:
    parts = Parts(gzip.compress(content) if is_compressed else content)
    headers = {"content-length": "5"} | ({"content-encoding": "gzip"} if is_compressed else {})
    request = httpx.Request("GET", "http://provider.example.com")
    return httpx.Response(200, headers=headers, stream=parts, request=request), parts


@pytest.mark.parametrize("is_compressed", [False, True])
async def test_response_of_the_maximum_size_is_read(
    is_compressed: bool,  # noqa: FBT001 - a table's column
) -> None:
    given, parts = response(b"x" * MOST, is_compressed=is_compressed)

    found = await read_bounded(given, most=MOST)

    assert found.content == b"x" * MOST
    assert parts.is_closed


@pytest.mark.parametrize("is_compressed", [False, True])
async def test_longer_response_is_refused_and_closed(
    is_compressed: bool,  # noqa: FBT001 - a table's column
) -> None:
    given, parts = response(b"x" * (MOST + 1), is_compressed=is_compressed)

    with pytest.raises(ResponseTooLongError):
        await read_bounded(given, most=MOST)

    assert parts.is_closed

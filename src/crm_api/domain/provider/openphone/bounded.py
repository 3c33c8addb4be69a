"""Read responses of other services up to a maximum size; the size in a header is ignored."""

from typing import cast

import httpx

MOST_BYTES = 16 * 1024 * 1024
"""Maximum size, in bytes, of the response to a read request. A page of messages has about 200 kB, a
long transcript a few MB."""
MOST_BYTES_OF_SEND = 256 * 1024
"""Maximum size, in bytes, of the response to a send request. A real response has a few
kilobytes."""


class AnswerTooLongError(httpx.HTTPError):
    """The response is larger than the maximum size."""


async def send_bounded(
    http: httpx.AsyncClient, request: httpx.Request, *, most: int = MOST_BYTES
) -> httpx.Response:
    """Send a request once and read its response; redirects are not followed.

    Args:
        most: Maximum size of the body in bytes, after decompression.

    Raises:
        AnswerTooLongError: The body has more than ``most`` bytes; the connection is closed.
        httpx.HTTPError: The request failed, or the response ended too early.
    """
    response = await http.send(request, stream=True, follow_redirects=False)
    return await read_bounded(response, most=most)


async def read_bounded(response: httpx.Response, *, most: int) -> httpx.Response:
    """Read the body of a streamed response, and close the response.

    Returns:
        A response with the same status and headers, and the decompressed body.

    Raises:
        AnswerTooLongError: The body has more than ``most`` bytes.
        httpx.HTTPError: The body ends too early or cannot be decompressed.
    """
    content = bytearray()
    # httpx's chain of decoders takes a twentieth of the worker's CPU time for a message (measured).
    # So it is used only for a compressed body.
    is_plain = "content-encoding" not in response.headers
    stream = cast("httpx.AsyncByteStream", response.stream)
    try:
        async for part in stream if is_plain else response.aiter_bytes():
            content += part
            if len(content) > most:
                raise AnswerTooLongError(f"The response has more than {most} bytes.")
    finally:
        await response.aclose()
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name not in {"content-encoding", "content-length", "transfer-encoding"}
    ]
    return httpx.Response(
        response.status_code, headers=headers, content=bytes(content), request=response.request
    )

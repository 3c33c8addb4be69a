"""Serve the pictures and recordings to which the sandbox's events link.

A picture shows a crack in a wall; a recording is a tone of one second. The content depends only on
the name of the file, so it is the same at every request.
"""

import io
import math
import struct
import wave
import zlib
from array import array
from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/media"
WIDTH, HEIGHT = 160, 120
SAMPLES_PER_SECOND = 8_000
_FARTHEST_RECORDINGS = "https://recordings.example.com"
"""Base URL of recordings, which is used if the sandbox does not know its own URL. No file exists at
this URL."""


async def show_file(request: Request) -> Response:
    """Return a picture for a name that ends in ``.png``, or a recording for ``.wav``; else 404."""
    name = str(request.path_params["name"])
    if name.endswith(".png"):
        return Response(draw_crack(name), media_type="image/png")
    if name.endswith(".wav"):
        return Response(sound_tone(name), media_type="audio/wav")
    return Response(status_code=404)


def picture(base_url: str | None, name: str) -> dict[str, str]:
    """Return URL and media type of a picture, for use in an event.

    Raises:
        ValueError: The sandbox does not know its own URL.
    """
    if base_url is None:
        raise ValueError(
            "give `url` for each item of `media`, because this sandbox does not know its own URL"
        )
    return {"url": f"{base_url}{PATH}/{name}.png", "type": "image/png"}


def recording(base_url: str | None, name: str) -> dict[str, str]:
    """Return URL and media type of a recording, for use in an event."""
    if base_url is None:
        return {"url": f"{_FARTHEST_RECORDINGS}/{name}.mp3", "type": "audio/mpeg"}
    return {"url": f"{base_url}{PATH}/{name}.wav", "type": "audio/wav"}


def draw_crack(name: str) -> bytes:
    """Return a PNG of a grey wall with a crack; the name decides the shape of the crack."""
    course = blake2b(name.encode(), digest_size=HEIGHT // 2).digest()
    x, rows = WIDTH // 2, []
    for y in range(HEIGHT):
        x = min(WIDTH - 3, max(2, x + course[y // 2] % 5 - 2))
        row = bytearray([170 + course[0] % 60]) * WIDTH
        row[x - 1 : x + 2] = bytes([60, 30, 60])
        rows.append(b"\0" + bytes(row))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def sound_tone(name: str) -> bytes:
    """Return a WAV file with a tone of one second. The pitch depends on ``name``."""
    digest = blake2b(name.encode(), digest_size=4).digest()
    pitch = 220 + int.from_bytes(digest) / 2**24
    step = 2 * math.pi * pitch / SAMPLES_PER_SECOND
    samples = array("h", (int(8000 * math.sin(step * at)) for at in range(SAMPLES_PER_SECOND)))
    written = io.BytesIO()
    with wave.open(written, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLES_PER_SECOND)
        sound.writeframes(samples.tobytes())
    return written.getvalue()


ROUTES = (Route(PATH + "/{name}", show_file, methods=["GET"]),)

"""What a file is, by its first bytes, and which files are kept.

What the sender says counts for nothing: neither the event's type nor the answer's header. Only
the kinds listed here are kept, and none of them is run by a browser: no HTML, no SVG, no script.
"""

import puremagic

from crm_api.domain.media.errors import FetchError
from crm_api.domain.media.models import MediaKind

MEGABYTE = 1024 * 1024
LARGEST = {
    MediaKind.PICTURE: 10 * MEGABYTE,
    MediaKind.RECORDING: 25 * MEGABYTE,
    MediaKind.VOICEMAIL: 25 * MEGABYTE,
    MediaKind.OTHER: 25 * MEGABYTE,
}
"""Carriers take pictures of one or two megabytes; an hour of a call as MP3 has about fifteen."""
HEAD_BYTES = 4096
"""Enough to tell: what names a file's kind stands in its first few hundred bytes."""

_TYPES = {
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/png": (".png",),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "image/heic": (".heic", ".heif"),
    "image/avif": (".avif",),
    "image/bmp": (".bmp", ".dib"),
    "image/tiff": (".tif", ".tiff"),
    "audio/mpeg": (".mp3", ".mpga"),
    "audio/wav": (".wav",),
    "audio/ogg": (".ogg", ".oga", ".opus"),
    "audio/amr": (".amr",),
    "audio/mp4": (".m4a", ".f4a"),
    "audio/aac": (".aac",),
    "audio/flac": (".flac",),
    "video/mp4": (".mp4", ".m4v"),
    "video/quicktime": (".mov",),
    "video/3gpp": (".3gp", ".3ga", ".3g2"),
    "video/webm": (".webm",),
    "application/pdf": (".pdf",),
    "text/vcard": (".vcf",),
}
_TYPE_OF_EXTENSION = {
    extension: name for name, extensions in _TYPES.items() for extension in extensions
}
_BOX_TYPES = {
    b"mif1": "image/heic",
    b"msf1": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"3gp5": "video/3gpp",
}
"""Brands of the ISO base media format that the library does not know."""


def type_of(head: bytes) -> str | None:
    """Return the file's type; None for one that is not kept.

    Args:
        head: Its first bytes, up to ``HEAD_BYTES``.
    """
    if head[4:8] == b"ftyp" and head[8:12] in _BOX_TYPES:
        return _BOX_TYPES[head[8:12]]
    try:
        guesses = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        guesses = []
    for guess in guesses:  # the surest first
        if guess.extension in _TYPE_OF_EXTENSION:
            return _TYPE_OF_EXTENSION[guess.extension]
    return "audio/mpeg" if _is_mpeg_audio(head) else None


def require_type(head: bytes) -> str:
    """Return the file's type.

    Raises:
        FetchError: It is none that is kept.
    """
    found = type_of(head)
    if found is None:
        raise FetchError(
            "unsupported_type",
            "The file is no picture, sound, video, PDF or contact card.",
            is_final=True,
        )
    return found


def extension_of(content_type: str) -> str:
    """Return the usual ending of a file of this type, with its dot."""
    return _TYPES.get(content_type, (".bin",))[0]


def is_shown_inline(content_type: str) -> bool:
    """True for pictures, sound and video; documents and cards are for download."""
    return content_type.startswith(("image/", "audio/", "video/"))


def _is_mpeg_audio(head: bytes) -> bool:
    """Recognise a frame of layer II or III without a tag before it, as telephones record.

    Source: ISO/IEC 11172-3, 2.4.1.3: eleven bits of sync, then version, layer, bit rate, sampling
    rate, of which some values are forbidden.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004 - as the standard has it
        return False
    version, layer = head[1] >> 3 & 0b11, head[1] >> 1 & 0b11
    bit_rate, sampling_rate = head[2] >> 4, head[2] >> 2 & 0b11
    return (
        version != 0b01 and layer in {0b01, 0b10} and 0 < bit_rate < 0b1111 and sampling_rate < 0b11  # noqa: PLR2004 - the same
    )

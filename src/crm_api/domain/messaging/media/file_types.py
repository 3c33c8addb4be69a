"""Detect the type of a file by its first bytes, and decide which types are stored.

The type in the event and the header of the download are ignored, because the sender chooses them.
Only the types listed here are stored. A browser executes none of them: no HTML, no SVG, no script.
"""

import puremagic

from crm_api.domain.messaging.media.errors import FetchError
from crm_api.domain.messaging.models.media import MediaKind

MEGABYTE = 1024 * 1024
LARGEST = {
    MediaKind.PICTURE: 10 * MEGABYTE,
    MediaKind.RECORDING: 25 * MEGABYTE,
    MediaKind.VOICEMAIL: 25 * MEGABYTE,
    MediaKind.OTHER: 25 * MEGABYTE,
}
"""Most bytes by kind. Carriers accept pictures of one or two megabytes. One hour of a call as MP3
has about fifteen."""
HEAD_BYTES = 4096
"""Bytes read to detect the type, which the first few hundred bytes show."""

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
    """Return the file's media type; None for a type that is not stored.

    Args:
        head: The first bytes, up to ``HEAD_BYTES``.
    """
    if head[4:8] == b"ftyp" and head[8:12] in _BOX_TYPES:
        return _BOX_TYPES[head[8:12]]
    try:
        guesses = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        guesses = []
    for guess in guesses:  # most probable first
        if guess.extension in _TYPE_OF_EXTENSION:
            return _TYPE_OF_EXTENSION[guess.extension]
    return "audio/mpeg" if _is_mpeg_audio(head) else None


def require_type(head: bytes) -> str:
    """Return the file's media type.

    Raises:
        FetchError: Files of this type are not stored.
    """
    found = type_of(head)
    if found is None:
        raise FetchError(
            "unsupported_type",
            "The file is not a picture, sound, video, PDF or contact card.",
            is_final=True,
        )
    return found


def extension_of(content_type: str) -> str:
    """Return the usual file name extension of a type, with its dot."""
    return _TYPES.get(content_type, (".bin",))[0]


def is_shown_inline(content_type: str) -> bool:
    """Return True for pictures, sound and video; other types are downloaded."""
    return content_type.startswith(("image/", "audio/", "video/"))


def _is_mpeg_audio(head: bytes) -> bool:
    """Recognise a frame of layer II or III without a tag before it, as telephones record.

    Source: ISO/IEC 11172-3, 2.4.1.3: eleven bits of sync, then version, layer, bit rate and
    sampling rate. Some values of these fields are forbidden.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004 - as the standard has it
        return False
    version, layer = head[1] >> 3 & 0b11, head[1] >> 1 & 0b11
    bit_rate, sampling_rate = head[2] >> 4, head[2] >> 2 & 0b11
    return (
        version != 0b01 and layer in {0b01, 0b10} and 0 < bit_rate < 0b1111 and sampling_rate < 0b11  # noqa: PLR2004 - the same
    )

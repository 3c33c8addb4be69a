"""Detect the media type of a file by its first bytes, and decide which types are stored.

The provider's event and the HTTP header also name a media type. These two types are ignored,
because the sender chooses them. No stored type can execute code in a browser, so HTML, SVG and
scripts are never stored.
"""

from crm_api.domain.messaging.media.errors import FetchError
from crm_api.domain.messaging.models.media import MediaKind

MEGABYTE = 1024 * 1024
LARGEST = {
    MediaKind.PICTURE: 10 * MEGABYTE,
    MediaKind.RECORDING: 25 * MEGABYTE,
    MediaKind.VOICEMAIL: 25 * MEGABYTE,
    MediaKind.OTHER: 25 * MEGABYTE,
}
"""The largest size in bytes of a file of each kind. Carriers accept pictures of one or two
megabytes. A recording of one hour has about fifteen megabytes as MP3."""
HEAD_BYTES = 4096
"""The number of bytes at the beginning of a file from which its type is detected."""

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
"""Maps a brand (the code in the header of an ISO base media file) to the media type of the file.
The library ``puremagic`` does not know these brands."""


def type_of(head: bytes) -> str | None:
    """Return the media type of a file; None if the type is unknown or must not be stored.

    Args:
        head: The first bytes of the file, up to ``HEAD_BYTES``.
    """
    if head[4:8] == b"ftyp" and head[8:12] in _BOX_TYPES:
        return _BOX_TYPES[head[8:12]]
    import puremagic  # noqa: PLC0415 - 1.4 MB, which only a process that stores media needs

    try:
        guesses = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        guesses = []
    for guess in guesses:  # the most probable type comes first
        if guess.extension in _TYPE_OF_EXTENSION:
            return _TYPE_OF_EXTENSION[guess.extension]
    return "audio/mpeg" if _is_mpeg_audio(head) else None


def require_type(head: bytes) -> str:
    """Return the media type of a file from its first bytes.

    Raises:
        FetchError: The type is unknown or must not be stored.
    """
    found = type_of(head)
    if found is None:
        raise FetchError(
            "unsupported_type",
            "The file is not stored, because it is not a picture, sound, video, PDF or contact "
            "card.",
            is_final=True,
        )
    return found


def extension_of(content_type: str) -> str:
    """Return the usual file name extension of a media type, with the dot; ``.bin`` if unknown."""
    return _TYPES.get(content_type, (".bin",))[0]


def is_shown_inline(content_type: str) -> bool:
    """Return True if a browser should show files of this type: pictures, sound and video."""
    return content_type.startswith(("image/", "audio/", "video/"))


def _is_mpeg_audio(head: bytes) -> bool:
    """Return True if the file starts with an MPEG audio frame of layer II or III.

    If such a file has no tag (metadata), the library ``puremagic`` does not always recognise it.

    Source: ISO/IEC 11172-3, 2.4.1.3: eleven sync bits, then version, layer, bit rate and sampling
    rate. The standard forbids some values of these fields.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004 - as the standard has it
        return False
    version, layer = head[1] >> 3 & 0b11, head[1] >> 1 & 0b11
    bit_rate, sampling_rate = head[2] >> 4, head[2] >> 2 & 0b11
    return (
        version != 0b01 and layer in {0b01, 0b10} and 0 < bit_rate < 0b1111 and sampling_rate < 0b11  # noqa: PLR2004 - the same
    )

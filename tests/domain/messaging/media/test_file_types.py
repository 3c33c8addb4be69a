import pytest
from tests.domain.messaging.media.hosts import PICTURE, SOUND

from crm_api.domain.messaging.media.file_types import extension_of, is_shown_inline, type_of

REST = b"\0" * 300
KEPT = {
    "image/jpeg": b"\xff\xd8\xff\xe1\x1c\x45Exif\0\0" + REST,
    "image/png": PICTURE,
    "image/gif": b"GIF89a" + REST,
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 " + REST,
    "image/heic": b"\0\0\0\x28ftypmif1\0\0\0\0mif1heic" + REST,
    "image/avif": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf" + REST,
    "image/tiff": b"II*\0\x08\0\0\0" + REST,
    "audio/mpeg": b"ID3\x03\0\0\0\0\0\x21" + REST,
    "audio/wav": SOUND,
    "audio/ogg": b"OggS\0\x02" + b"\0" * 22 + b"\x01\x1eOpusHead" + REST,
    "audio/amr": b"#!AMR\n" + b"\x3c" * 300,
    "audio/mp4": b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + REST,
    "audio/aac": b"\xff\xf1\x50\x80\0\0\0" + REST,
    "audio/flac": b"fLaC\0\0\0\x22" + REST,
    "video/mp4": b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + REST,
    "video/quicktime": b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + REST,
    "video/3gpp": b"\0\0\0\x18ftyp3gp5\0\0\0\0" + REST,
    "video/webm": bytes.fromhex("1a45dfa39f4286810142f7810142f2810442f38108428284")
    + b"webm"
    + REST,
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n" + b" " * 300,
    "text/vcard": b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Dana\r\nEND:VCARD\r\n",
}


@pytest.mark.parametrize(("name", "head"), KEPT.items(), ids=KEPT)
def test_file_type_is_recognised_by_its_first_bytes(name: str, head: bytes) -> None:
    assert type_of(head) == name
    assert extension_of(name) != ".bin"


@pytest.mark.parametrize("begins", ["fffb9044", "fff384c4", "ffe384c4", "fffa9044", "fffd8444"])
def test_audio_without_a_tag_is_recognised_by_its_first_frame(begins: str) -> None:
    assert type_of(bytes.fromhex(begins) + REST) == "audio/mpeg"


@pytest.mark.parametrize(
    "head",
    [
        b"<!DOCTYPE html><html><body>gone</body></html>",
        b"<html><script>alert(1)</script></html>",
        b"\n  <html><body onload=alert(1)>",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>',
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"></svg>',
        b'{"error":"expired"}',
        b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0" + REST,
        b"\x7fELF\x02\x01\x01" + REST,
        b"PK\x03\x04\x14\0\0\0\x08\0" + REST,
        b"alert(1)",
        b"\xff\xfe<\0h\0t\0m\0l\0",
        bytes.fromhex("ffea9044") + REST,
        b"\xff",
        b"",
    ],
)
def test_file_of_another_type_is_not_stored(head: bytes) -> None:
    assert type_of(head) is None


def test_only_types_that_are_safe_in_a_browser_are_shown_inline() -> None:
    inline = {name for name in KEPT if is_shown_inline(name)}

    assert set(KEPT) - inline == {"application/pdf", "text/vcard"}

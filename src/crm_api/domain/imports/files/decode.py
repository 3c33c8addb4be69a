"""Decode the bytes of a file to lines of text, and refuse files that are not text."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from crm_api.domain.imports.files.errors import EmptyFileError, NotCsvError

SAMPLE_BYTES = 65_536
MAX_LINE_CHARACTERS = 1_000_000
"""A longer line is refused. It is read in parts, so that it never fills the memory."""
USE_CSV = "Export the data as CSV and upload that file."
"""The second sentence of errors about files that are not CSV."""

_SIGNATURES = (
    (b"PK\x03\x04", "an Excel workbook or a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"SQLite format 3", "a database"),
    (b"{\\rtf", "a text document"),
)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ERRORS = "windows-1252"
_MAX_CONTROL_SHARE = 0.05
_MIN_NUL_SHARE = 0.3


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    """Decode bytes that are not valid UTF-8 as Windows-1252, because some files mix both."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    if error.encoding.startswith("utf-16"):
        return "\ufffd", error.end
    bad = error.object[error.start : error.end]
    return bad.decode("cp1252", errors="replace"), error.end


codecs.register_error(_ERRORS, _as_windows_1252)


@dataclass(slots=True)  # not frozen, because that takes three times as long for each line
class Line:
    """One line of a file. If ``is_overlong`` is True, ``text`` is only the start of the line."""

    text: str
    is_overlong: bool


def detect_encoding(path: Path) -> str:
    """Detect the encoding from the beginning of the file.

    Returns:
        The name of a Python codec. For a file in Windows-1252, the name is ``utf-8`` too, because
        ``open_text`` decodes bytes that are not valid UTF-8 as Windows-1252.

    Raises:
        EmptyFileError: The file has no bytes.
        NotCsvError: The file has a known binary format, or is not text.
    """
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    if not head:
        raise EmptyFileError("The file is empty. Upload a file with rows.")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            raise NotCsvError(f"The file is {kind}, not CSV. {USE_CSV}")
    if b"\0" in head:
        return _unmarked_utf_16(head)
    _refuse_markup(head)
    control = sum(1 for byte in head if byte < 32 and byte not in b"\t\n\r\f\x1a\x1b")  # noqa: PLR2004 - control characters
    if control > _MAX_CONTROL_SHARE * len(head):
        raise NotCsvError(f"The file contains binary data, not text. {USE_CSV}")
    return "utf-8"


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a file to read its lines. Bytes that are not valid in ``encoding`` raise no error.

    Such bytes are decoded as Windows-1252. In UTF-16, they are replaced by U+FFFD.
    """
    return path.open(encoding=encoding, errors=_ERRORS, newline="")


def read_lines(stream: TextIO) -> Iterator[Line]:
    """Yield the lines of a file. A line longer than ``MAX_LINE_CHARACTERS`` is cut.

    Raises:
        NotCsvError: The file contains a NUL byte, so it is binary.
    """
    while text := stream.readline(MAX_LINE_CHARACTERS):
        if "\0" in text:
            raise NotCsvError(f"The file contains binary data (a NUL byte). {USE_CSV}")
        is_overlong = len(text) == MAX_LINE_CHARACTERS and text[-1] not in "\r\n"
        if is_overlong:
            _skip_rest_of_line(stream)
        yield Line(text, is_overlong)


def _skip_rest_of_line(stream: TextIO) -> None:
    while rest := stream.readline(MAX_LINE_CHARACTERS):
        if rest[-1] in "\r\n":
            return


def _unmarked_utf_16(head: bytes) -> str:
    """Find the codec of UTF-16 text without a byte order mark from the positions of NUL bytes."""
    pairs = max(len(head) // 2, 1)
    if head[1::2].count(0) > _MIN_NUL_SHARE * pairs and not head[::2].count(0):
        return "utf-16-le"
    if head[::2].count(0) > _MIN_NUL_SHARE * pairs and not head[1::2].count(0):
        return "utf-16-be"
    raise NotCsvError(f"The file contains binary data, not text. {USE_CSV}")


def _refuse_markup(head: bytes) -> None:
    start = head.lstrip()[:200].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        raise NotCsvError(f"The file is a web page or XML, not CSV. {USE_CSV}")
    if start.startswith((b'{"', b"[{", b'{\n "', b"{\n")):
        raise NotCsvError(f"The file is JSON, not CSV. {USE_CSV}")

"""Find libfaketime, and make a copy of it with which PostgreSQL works.

libfaketime also replaces the functions that wait. While such a replacement runs, a signal handler
reads the real time instead of the moved time. In such a handler, PostgreSQL decides whether
``lock_timeout``, ``statement_timeout`` or ``deadlock_timeout`` is over. So none of these time-outs
would ever end. Waiting times are relative and need no moved clock. So in the copy, the replacements
have names that no program calls.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

PLACES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib*/faketime/libfaketimeMT.so.1",
    "/usr/local/lib*/faketime/libfaketimeMT.so.1",
)
_WAITING = (b"epoll_wait", b"epoll_pwait", b"select", b"poll", b"sleep")
"""Names of functions that wait. Longer names that end with one of them, such as ``pselect`` and
``nanosleep``, are changed too, because strings in the table share their ends."""
_SECTION_TABLE = 0x28
_SECTION_COUNTS = 0x3A
_ELF64 = b"\x7fELF\x02\x01"


def find_library() -> Path | None:
    """Return the file of libfaketime for programs with threads; None if it is not installed."""
    found = (path for place in PLACES for path in sorted(Path("/").glob(place[1:])))
    return next(found, None)


def write_copy(library: Path, copy: Path) -> None:
    """Copy the library without its replacements of functions that wait.

    Raises:
        ValueError: The library is not a 64-bit little-endian ELF file, or lacks these functions.
    """
    content = bytearray(library.read_bytes())
    if content[: len(_ELF64)] != _ELF64:
        raise ValueError(f"{library} is not a 64-bit ELF file")
    offset, size = _names_of_symbols(bytes(content))
    names = bytes(content[offset : offset + size])
    if not all(name + b"\0" in names for name in _WAITING):
        raise ValueError(f"{library} is another libfaketime than this was written for")
    for name in _WAITING:
        names = names.replace(name + b"\0", name[:-1] + b"_\0")
    content[offset : offset + size] = names
    copy.write_bytes(content)
    # Servers that run under another account load the copy too.
    copy.chmod(0o755)


def _names_of_symbols(content: bytes) -> tuple[int, int]:
    """Return where the section ``.dynstr`` (names of symbols) begins in the file, and its size."""
    sections = list(_sections(content))
    _, _, _, _, titles, _ = sections[struct.unpack_from("<3H", content, _SECTION_COUNTS)[2]]
    for title, _, _, _, offset, size in sections:
        begin = titles + title
        if content[begin : content.index(0, begin)] == b".dynstr":
            return offset, size
    raise ValueError("the file has no .dynstr")


def _sections(content: bytes) -> Iterator[tuple[int, ...]]:
    (table,) = struct.unpack_from("<Q", content, _SECTION_TABLE)
    each, count, _ = struct.unpack_from("<3H", content, _SECTION_COUNTS)
    for number in range(count):
        yield struct.unpack_from("<IIQQQQ", content, table + number * each)

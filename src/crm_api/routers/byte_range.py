"""Which part of a file a request asks for."""

import re

_ONE_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


class UnsatisfiableRangeError(ValueError):
    """No byte of the file lies in the range."""


def wanted_range(header: str | None, *, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last; None when the whole file is asked for.

    Several ranges at once, and what cannot be read, count as the whole: a server may ignore any
    range (RFC 9110, 14.2).

    Raises:
        UnsatisfiableRangeError: It begins after the file's end.
    """
    found = _ONE_RANGE.fullmatch(header.replace(" ", "")) if header else None
    if found is None:
        return None
    first, last = found.groups()
    if first:
        start, end = int(first), min(size, int(last) + 1) if last else size
        is_backwards = bool(last) and int(last) < start
    else:
        start, end = max(0, size - int(last or 0)), size
        is_backwards = not last
    if is_backwards:
        return None
    if start >= end:
        raise UnsatisfiableRangeError(f"The file has {size} bytes.")
    return start, end

"""Compare the output of a block with the output that the page shows."""

import re

ANYTHING = "…"
"""On a page, this sign matches any text, also text of several lines."""
_ID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?")
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")
_JSON_SPACE = re.compile(r'("(?:\\.|[^"\\])*")|\s+')
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def fits(shown: str, printed: str, *, language: str, differs: bool = False) -> bool:
    """Return True if an output matches the page; ids, times and the layout of JSON may differ.

    ``…`` on the page matches any text. The page may leave out headers of a response, but it shows
    the whole body.

    Args:
        shown: The text on the page.
        printed: The actual output.
        language: The language of the block.
        differs: True if the figures in the output may differ from the page.
    """
    if differs:
        shown, printed = (_FIGURE.sub("<figure>", _same(text)) for text in (shown, printed))
    if language == "http":
        head, _, shown = shown.partition("\n\n")
        real_head, _, printed = printed.replace("\r", "").partition("\n\n")
        lines = _headers(real_head)
        if not all(any(_matches(line, real) for real in lines) for line in _headers(head)):
            return False
    if language in {"http", "json"}:
        shown, printed = (_JSON_SPACE.sub(r"\1", text) for text in (shown, printed))
    return _matches(shown, printed)


def _headers(head: str) -> list[str]:
    """Return the header lines of a response, with all names in the same letter case."""
    lines = (line.partition(":") for line in head.strip().split("\n"))
    return [name.title() + colon + value for name, colon, value in lines]


def _matches(shown: str, printed: str) -> bool:
    parts = (re.escape(part) for part in _plain(shown).split(ANYTHING))
    return re.fullmatch(".*?".join(parts), _plain(printed), re.DOTALL) is not None


def _same(text: str) -> str:
    return _TIME.sub("<time>", _ID.sub("<id>", _COLOUR.sub("", text)))


def _plain(text: str) -> str:
    text = _same(text)
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")

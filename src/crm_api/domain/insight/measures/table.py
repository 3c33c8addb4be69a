"""Draw figures as a text table, with intervals and bars, for a terminal."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from crm_api.domain.insight.measures.figures import Figure, Figures

WIDEST_LABEL = 32
BAR = 24
_BLOCKS = " ▏▎▍▌▋▊▉█"


def draw_figures(figures: Figures, *, zone: str) -> Iterator[str]:
    """Yield the lines of a table: the rows, then the total.

    If a row has too few records to rely on it, it is marked with ``*``.
    """
    shown = [*figures.rows, figures.total]
    labels = [_label(one, zone=zone) for one in figures.rows] + ["total"]
    numbers = [_number(one) for one in shown]
    spans = ["" if one.low is None else f"{one.low}-{one.high}" for one in shown]
    counts = ["" if one.denominator is None else str(one.denominator) for one in shown]
    widths = [max(map(len, column)) for column in (labels, numbers, spans, counts)]
    largest = max((_size(one) for one in figures.rows), default=0.0)
    for place, one in enumerate(shown):
        mark = " " if one.is_enough else "*"
        cells = (
            labels[place].ljust(widths[0]),
            numbers[place].rjust(widths[1]) + mark,
            spans[place].ljust(widths[2]),
            counts[place].rjust(widths[3]),
        )
        bar = _bar(_size(one), largest) if one is not figures.total else ""
        yield "  ".join((*cells, bar)).rstrip()


def _label(figure: Figure, *, zone: str) -> str:
    parts = []
    if figure.bucket_start is not None:
        parts.append(f"{figure.bucket_start.astimezone(ZoneInfo(zone)):%Y-%m-%d}")
    if figure.label is not None or figure.bucket_start is None:
        parts.append((figure.label or "(none)")[:WIDEST_LABEL])
    return " ".join(parts)


def _number(figure: Figure) -> str:
    return "-" if figure.value is None else str(figure.value)


def _size(figure: Figure) -> float:
    return max(0.0, float(figure.value or 0))


def _bar(size: float, largest: float) -> str:
    """Return a bar of at most ``BAR`` characters; its length is exact to 1/8 of a character."""
    if largest <= 0:
        return ""
    eighths = round(size / largest * BAR * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_BLOCKS[rest] if rest else "")

"""Tests of the text table that shows figures of the area ``insight``."""

from dataclasses import replace

from crm_api.cli.insight import draw_figures
from crm_api.domain.insight.measures.figures import Figure, Figures

ROW = Figure(
    key="a",
    label="Maple Street",
    bucket_start=None,
    numerator=12,
    denominator=240,
    value="0.0500",
    low="0.0288",
    high="0.0853",
    is_enough=False,
    enough_at=None,
    unripe=0,
    rows_url="/",
)


def test_table_has_intervals_marks_and_bars() -> None:
    other = replace(ROW, label=None, value="0.0250", low="0.0100", high="0.0600", is_enough=True)
    figures = Figures(total=replace(ROW, label=None), rows=[ROW, other])

    lines = list(draw_figures(figures, zone="UTC"))

    assert lines == [
        "Maple Street  0.0500*  0.0288-0.0853  240  " + "█" * 24,
        "(none)        0.0250   0.0100-0.0600  240  " + "█" * 12,
        "total         0.0500*  0.0288-0.0853  240",
    ]


def test_table_without_rows_has_the_total() -> None:
    total = replace(ROW, label=None, value=None, low=None, high=None, denominator=None)

    assert list(draw_figures(Figures(total=total, rows=[]), zone="UTC")) == ["total  -*"]

"""The rates of the evaluation of the reader are reported with a confidence interval."""

import pytest

from crm_api.domain.consent.example_evaluation import Rate


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 0, 0.0, 1.0),
    ],
)
def test_interval_is_the_wilson_interval(hits: int, total: int, low: float, high: float) -> None:
    """Compare the interval with published values.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    """
    assert [round(end, 4) for end in Rate(hits, total).interval] == [low, high]


def test_rate_is_written_with_its_interval_and_counts() -> None:
    assert str(Rate(15, 148)) == "0.101 (0.062-0.160; 15/148)"
    assert str(Rate(0, 0)) == "0.000 (0.000-1.000; 0/0)"

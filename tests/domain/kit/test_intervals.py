"""Wilson's interval equals published values."""

import pytest

from crm_api.domain.kit.intervals import wilson_interval


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_interval_equals_the_published_values(
    part: int, whole: int, low: float, high: float
) -> None:
    """Compare the interval with published values.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    """
    found = wilson_interval(part, whole)

    assert found is not None
    assert [round(end, 4) for end in found] == [low, high]


def test_no_interval_without_cases_and_more_hits_than_cases_count_as_all() -> None:
    assert wilson_interval(0, 0) is None
    assert wilson_interval(3, 2) == wilson_interval(2, 2)

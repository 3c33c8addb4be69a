"""Wilson's interval against published values."""

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
def test_interval_is_wilsons(part: int, whole: int, low: float, high: float) -> None:
    """As in R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    found = wilson_interval(part, whole)

    assert found is not None
    assert [round(end, 4) for end in found] == [low, high]


def test_nothing_has_no_interval_and_more_than_all_is_all() -> None:
    assert wilson_interval(0, 0) is None
    assert wilson_interval(3, 2) == wilson_interval(2, 2)

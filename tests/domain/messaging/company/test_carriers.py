"""Carriers are recognised by name, and the unused rest of their declared budgets is computed."""

from datetime import UTC, datetime

import pytest

from crm_api.domain.messaging.company.carriers import Budgets, carrier_day, carrier_of


@pytest.mark.parametrize(
    ("name", "carrier"),
    [
        ("T-Mobile USA, Inc.", "t_mobile"),
        ("TMOBILE", "t_mobile"),
        ("Metro by T-Mobile", "t_mobile"),
        ("MetroPCS", "t_mobile"),
        ("Sprint Spectrum L.P.", "t_mobile"),
        ("AT&T Wireless", "att"),
        ("New Cingular Wireless PCS, LLC", "att"),
        ("Cricket Wireless - ATT", "att"),
        ("Cricket Mobile", "att"),
        ("AT&T Mobile", "att"),
        ("Boost Mobile", "unknown"),
        ("Comcast Mobile", "unknown"),
        ("Verizon Wireless", "verizon"),
        ("Cellco Partnership DBA Verizon", "verizon"),
        ("U.S. Cellular", "us_cellular"),
        ("US Cellular Corp.", "us_cellular"),
        ("Bandwidth.com", "unknown"),
        ("Sprintz Telco of Statton", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_carrier_is_recognised_by_its_name(name: str | None, carrier: str) -> None:
    assert carrier_of(name) == carrier


def declared(segments: int, *others: int) -> dict[str, object]:
    vendors = [{"name": "Other", "daily_segments": other} for other in others]
    return {"daily_segments": segments, "other_vendors": vendors}


def test_segments_of_other_vendors_are_subtracted() -> None:
    budgets = Budgets.of({"t_mobile": declared(2000, 500, 300), "att": declared(100, 900)})

    assert budgets.daily == {"t_mobile": 1200, "att": 0}


def test_unknown_carrier_counts_against_the_strictest_budget() -> None:
    budgets = Budgets.of({"t_mobile": declared(2000), "att": declared(1000)})

    left = budgets.left({"t_mobile": 10, "unknown": 7, "verizon": 99})

    assert left == {"t_mobile": 1990, "att": 993}
    assert budgets.counted_as("unknown") == "att"
    assert budgets.counted_as("verizon") is None


def test_nothing_is_limited_without_a_declared_budget() -> None:
    budgets = Budgets.of({})

    assert (budgets.counted_as("t_mobile"), budgets.counted_as("unknown")) == (None, None)
    assert budgets.left({"t_mobile": 10}) == {}


def test_carriers_day_ends_at_midnight_in_california() -> None:
    now = datetime(2026, 11, 28, 6, 30, tzinfo=UTC)

    assert carrier_day(now) == (
        datetime(2026, 11, 27, 8, 0, tzinfo=UTC),
        datetime(2026, 11, 28, 8, 0, tzinfo=UTC),
    )

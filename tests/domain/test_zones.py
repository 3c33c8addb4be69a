"""Where a person plausibly is."""

from zoneinfo import ZoneInfo

import pytest

from crm_api.domain import places
from crm_api.domain.zones import ZoneKey, parse_zone_key, state_code, zone_key


def key(
    phone: str = "+16175550123",
    *,
    state: str | None = None,
    postal_code: str | None = None,
    timezone: str | None = None,
) -> str:
    return zone_key(timezone=timezone, state=state, postal_code=postal_code, phone=phone)


def test_address_and_area_code_of_one_state() -> None:
    assert key(state="MA", postal_code="02169") == "MA/America/New_York"


@pytest.mark.parametrize("state", ["Massachusetts", " massachusetts ", "ma", "MA", "M.A."])
def test_state_by_code_or_name(state: str) -> None:
    assert key(state=state) == "MA/America/New_York"


def test_without_an_address_the_area_code_tells() -> None:
    assert key("+18085550123") == "HI/Pacific/Honolulu"
    assert key("+15125550123") == "TX/America/Chicago"


def test_area_code_of_two_zones_gives_both() -> None:
    assert key("+18505550123") == "FL/America/Chicago,America/New_York"


def test_unknown_place_gives_every_plausible_zone() -> None:
    assert parse_zone_key(key("+18005550123")) == ZoneKey((), tuple(sorted(places.ANYWHERE)))
    assert key("+18005550123").startswith("?/America/Anchorage,")


def test_zip_decides_in_a_state_of_two_zones() -> None:
    florida = "+13055550123"

    assert key(florida, state="FL") == "FL/America/Chicago,America/New_York"
    assert key(florida, state="FL", postal_code="33101") == "FL/America/New_York"
    assert key(florida, state="FL", postal_code="32501-1234") == "FL/America/Chicago"
    assert key(florida, state="FL", postal_code="32456") == "FL/America/Chicago,America/New_York"


def test_zip_of_another_state_decides_nothing() -> None:
    assert key("+13055550123", state="FL", postal_code="02169") == (
        "FL/America/Chicago,America/New_York"
    )


def test_zip_names_the_state_when_the_address_has_none() -> None:
    assert key("+18005550123", postal_code="85001") == "AZ/America/Phoenix"


def test_address_and_area_code_of_different_states_both_count() -> None:
    assert key("+16175550123", state="CA") == "CA,MA/America/Los_Angeles,America/New_York"
    assert key("+13055550123", state="MA") == "FL,MA/America/New_York"


def test_own_time_zone_wins_but_states_stay() -> None:
    assert key(state="CA", timezone="America/Denver") == "CA,MA/America/Denver"


def test_time_zone_that_does_not_exist_is_ignored() -> None:
    assert key(state="MA", timezone="Mars/Olympus") == "MA/America/New_York"
    assert key(state="MA", timezone="../etc/passwd") == "MA/America/New_York"


def test_the_aleutians_keep_their_own_time() -> None:
    assert key("+19075550123", state="AK", postal_code="99501") == "AK/America/Anchorage"
    assert key("+19075550123", state="AK", postal_code="99546") == "AK/America/Adak"


def test_canadian_numbers_have_provinces() -> None:
    assert key("+14165550123") == "ON/America/Toronto"
    assert state_code("Québec") == "QC"


def test_key_reads_back() -> None:
    text = "FL,MA/America/Chicago,America/New_York"

    assert str(parse_zone_key(text)) == text


@pytest.mark.parametrize("text", ["", "MA", "/America/New_York", "MA/"])
def test_other_text_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="not a zone key"):
        parse_zone_key(text)


def test_tables_hold_together() -> None:
    zones = {zone for zones in places.STATE_ZONES.values() for zone in zones}

    assert all(ZoneInfo(zone) for zone in zones)
    assert set(places.STATE_NAMES.values()) == set(places.STATE_ZONES)
    assert set(places.AREA_CODE_STATES.values()) <= set(places.STATE_ZONES)
    assert set(places.ZIP_STATES.values()) <= set(places.STATE_ZONES)
    assert set(places.ONE_ZONE_AREA_CODES) <= set(places.AREA_CODE_STATES)
    for prefix, zone in places.ZIP_ZONES.items():
        if prefix in places.ZIP_STATES:
            assert zone in places.STATE_ZONES[places.ZIP_STATES[prefix]]
    for code, zone in places.ONE_ZONE_AREA_CODES.items():
        assert zone in places.STATE_ZONES[places.AREA_CODE_STATES[code]]

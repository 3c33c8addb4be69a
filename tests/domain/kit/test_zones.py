"""The zone key (state and time zone) of a contact follows from address, number and time zone."""

from zoneinfo import ZoneInfo

import pytest

from crm_api.domain.kit import regions
from crm_api.domain.kit.zones import (
    STATE_AS_WRITTEN,
    STATE_CODES,
    ZoneKey,
    join_zone_keys,
    parse_zone_key,
    state_code,
    zone_key,
    zone_key_of,
)


def key(
    phone: str = "+16175550123",
    *,
    state: str | None = None,
    postal_code: str | None = None,
    timezone: str | None = None,
) -> str:
    return zone_key(timezone=timezone, state=state, postal_code=postal_code, phone=phone)


def test_address_and_area_code_of_one_state_give_its_zone() -> None:
    assert key(state="MA", postal_code="02169") == "MA/America/New_York"


@pytest.mark.parametrize("state", ["Massachusetts", " massachusetts ", "ma", "MA", "M.A."])
def test_state_is_read_from_its_code_or_name(state: str) -> None:
    assert key(state=state) == "MA/America/New_York"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Tex.", "TX"),
        ("Mass", "MA"),
        ("N. H.", "NH"),
        ("W.Va.", "WV"),
        ("S. Car.", "SC"),
        ("State of Texas", "TX"),
        ("us-pr", "PR"),
        ("D.C.", "DC"),
        ("Puerto Rico", "PR"),
        ("U.S. Virgin Islands", "VI"),
        ("Guam", "GU"),
        ("AE", "AE"),
        ("Québec", "QC"),
        ("ZZ", None),
        ("Carolina", None),
        ("Dak.", None),
        ("N/A", None),
        ("", None),
    ],
)
def test_usual_abbreviations_are_read_as_states_and_ambiguous_ones_are_not(
    text: str, code: str | None
) -> None:
    assert state_code(text) == code


@pytest.mark.parametrize("state", ["ZZ", "Carolina"])
def test_unreadable_state_gives_every_zone(state: str) -> None:
    found = parse_zone_key(key("+12125550123", state=state))

    assert found == ZoneKey((), tuple(sorted(regions.ANYWHERE)))


def test_zip_decides_if_the_state_is_unreadable() -> None:
    assert key("+12125550123", state="ZZ", postal_code="33101").startswith("FL,NY/")


def test_unreadable_state_as_written_counts_until_a_state_is_stored() -> None:
    contact: dict[str, object] = {
        "phone": "+12125550123",
        "attributes": {STATE_AS_WRITTEN: "ZZ"},
    }

    assert zone_key_of(contact).startswith("?/")
    assert zone_key_of(contact | {"state": "NY"}) == "NY/America/New_York"
    assert zone_key_of({"phone": "+12125550123"}) == "NY/America/New_York"


def test_without_an_address_the_area_code_decides() -> None:
    assert key("+18085550123") == "HI/Pacific/Honolulu"
    assert key("+15125550123") == "TX/America/Chicago"


def test_area_code_with_two_zones_gives_both() -> None:
    assert key("+18505550123") == "FL/America/Chicago,America/New_York"


def test_unknown_location_gives_every_plausible_zone() -> None:
    assert parse_zone_key(key("+18005550123")) == ZoneKey((), tuple(sorted(regions.ANYWHERE)))
    assert key("+18005550123").startswith("?/America/Anchorage,")


def test_zip_decides_in_a_state_with_two_zones() -> None:
    florida = "+13055550123"

    assert key(florida, state="FL") == "FL/America/Chicago,America/New_York"
    assert key(florida, state="FL", postal_code="33101") == "FL/America/New_York"
    assert key(florida, state="FL", postal_code="32501-1234") == "FL/America/Chicago"
    assert key(florida, state="FL", postal_code="32456") == "FL/America/Chicago,America/New_York"


def test_zip_of_another_state_is_ignored() -> None:
    assert key("+13055550123", state="FL", postal_code="02169") == (
        "FL/America/Chicago,America/New_York"
    )


def test_zip_gives_the_state_if_the_address_has_none() -> None:
    assert key("+18005550123", postal_code="85001") == "AZ/America/Phoenix"


def test_address_and_area_code_of_different_states_both_count() -> None:
    assert key("+16175550123", state="CA") == "CA,MA/America/Los_Angeles,America/New_York"
    assert key("+13055550123", state="MA") == "FL,MA/America/New_York"


def test_time_zone_of_the_contact_replaces_the_zones_and_keeps_the_states() -> None:
    assert key(state="CA", timezone="America/Denver") == "CA,MA/America/Denver"


def test_time_zone_that_does_not_exist_is_ignored() -> None:
    assert key(state="MA", timezone="Mars/Olympus") == "MA/America/New_York"
    assert key(state="MA", timezone="../etc/passwd") == "MA/America/New_York"


def test_aleutian_zip_gives_the_aleutian_time_zone() -> None:
    assert key("+19075550123", state="AK", postal_code="99501") == "AK/America/Anchorage"
    assert key("+19075550123", state="AK", postal_code="99546") == "AK/America/Adak"


def test_canadian_numbers_give_provinces() -> None:
    assert key("+14165550123") == "ON/America/Toronto"
    assert state_code("Québec") == "QC"


def test_written_zone_key_is_read_unchanged() -> None:
    text = "FL,MA/America/Chicago,America/New_York"

    assert str(parse_zone_key(text)) == text


@pytest.mark.parametrize(
    ("other", "joined"),
    [
        ("CA/America/Los_Angeles", "CA,MA/America/Los_Angeles,America/New_York"),
        ("MA/America/New_York", "MA/America/New_York"),
        ("?/America/Denver", "?/America/Denver,America/New_York"),
    ],
)
def test_joined_key_has_the_states_and_zones_of_both(other: str, joined: str) -> None:
    assert join_zone_keys("MA/America/New_York", other) == joined
    assert join_zone_keys(other, "MA/America/New_York") == joined


@pytest.mark.parametrize("text", ["", "MA", "/America/New_York", "MA/"])
def test_invalid_zone_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a zone key"):
        parse_zone_key(text)


def test_region_tables_agree_with_each_other() -> None:
    zones = {zone for zones in regions.STATE_ZONES.values() for zone in zones}

    assert all(ZoneInfo(zone) for zone in zones)
    assert set(regions.STATE_NAMES.values()) == STATE_CODES
    assert set(regions.AREA_CODE_STATES.values()) <= set(regions.STATE_ZONES)
    assert set(regions.ZIP_STATES.values()) <= set(regions.STATE_ZONES)
    assert set(regions.ONE_ZONE_AREA_CODES) <= set(regions.AREA_CODE_STATES)
    for prefix, zone in regions.ZIP_ZONES.items():
        if prefix in regions.ZIP_STATES:
            assert zone in regions.STATE_ZONES[regions.ZIP_STATES[prefix]]
    for code, zone in regions.ONE_ZONE_AREA_CODES.items():
        assert zone in regions.STATE_ZONES[regions.AREA_CODE_STATES[code]]


@pytest.mark.parametrize(
    ("state", "postal_code"), [("AE", "09123"), ("AA", "34002"), ("AP", "96201")]
)
def test_address_of_the_armed_forces_gives_every_zone_and_those_of_its_region(
    state: str, postal_code: str
) -> None:
    zones = {*regions.ANYWHERE, *regions.ARMED_FORCES_ZONES[state]}
    expected = str(ZoneKey((), tuple(sorted(zones))))

    assert key("+12125550123", postal_code=postal_code) == expected
    assert key("+12125550123", state=state) == expected
    assert key("+12125550123", state=state, timezone="Asia/Tokyo") == "?/Asia/Tokyo"


@pytest.mark.parametrize(
    ("state", "zones"),
    [
        ("PW", "Pacific/Palau"),
        ("FM", "Pacific/Chuuk,Pacific/Kosrae,Pacific/Pohnpei"),
        ("Marshall Islands", "Pacific/Kwajalein,Pacific/Majuro"),
    ],
)
def test_freely_associated_states_have_their_own_zones(state: str, zones: str) -> None:
    found = key("+18005550123", state=state)

    assert found == f"{state_code(state)}/{zones}"


@pytest.mark.parametrize("postal_code", ["07960", "7960", " 7960 "])
def test_leading_zero_of_a_zip_is_restored(postal_code: str) -> None:
    assert key("+18005550123", postal_code=postal_code) == "NJ/America/New_York"

"""Compute the zone key of a contact: the US states and time zones in which the person may be.

A message may be sent only while it is allowed in all time zones of the key, under the rules of all
states of the key.

A key is ``<states>/<zones>``, split at its first slash. Several states or zones are in alphabetical
order, joined by commas. ``?`` means that no state is known::

    MA/America/New_York
    ?/America/Anchorage,America/Chicago,America/Denver,…
    FL,MA/America/New_York
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crm_api.domain.kit import regions

_UNKNOWN = "?"
STATE_CODES = frozenset(regions.STATE_ZONES) | frozenset(regions.ARMED_FORCES_ZONES)
"""The codes that the state of a contact may have."""
STATE_AS_WRITTEN = "state_as_written"
"""The name of the attribute of a contact that stores an unknown state. The attribute has the text
as it was written in the address."""
_COUNTRIES = {
    **dict.fromkeys(("us", "usa", "united states", "united states of america", "u.s.a."), "US"),
    **dict.fromkeys(("ca", "can", "canada"), "CA"),
}
DOMESTIC_NAMES = frozenset(_COUNTRIES)
"""Usual names of the United States and Canada in addresses, in lower case."""
_KIND_OF_STATE = re.compile(
    r"^(?:(?:the )?(?:state|commonwealth|province|territory) of |(?:us|ca)-(?=..$))", re.IGNORECASE
)
_ALEUTIAN_ZIPS = frozenset({"99546", "99547"})
_ALASKA_SPLIT_PREFIX = "995"
_CACHE_SIZE = 65_536
_ZIP_DIGITS = 5


@dataclass(frozen=True)
class ZoneKey:
    """A parsed zone key: the states and time zones in which a person may be.

    Attributes:
        states: The codes of the states, in alphabetical order; empty if no state is known.
        zones: The names of the IANA time zones, in alphabetical order; never empty.
    """

    states: tuple[str, ...]
    zones: tuple[str, ...]

    def __str__(self) -> str:
        """Return the zone key as text, such as ``MA/America/New_York``."""
        return f"{','.join(self.states) or _UNKNOWN}/{','.join(self.zones)}"


def zone_key(
    *, timezone: str | None, state: str | None, postal_code: str | None, phone: str
) -> str:
    """Return the zone key of a person: the states and time zones in which the person may live.

    - The states are the state of the address and, if it differs, the state of the area code.
    - The state of the address is the written state. If the written state is empty or not
      recognised, the state of the ZIP code is used.
    - If the address has a written state or a military ZIP code, but no state with known time zones
      is found for the address, the key has no state, not even the state of the area code. The key
      still has the zones of the area code.
    - If the state of the address has several zones, the ZIP code decides between these zones. If
      the state of the area code has several zones, the area code decides. If a code cannot decide,
      all zones of the state are used.
    - If the key has no state, all zones in ``regions.ANYWHERE`` are added. For an address of the
      armed forces, the zones of its region (``regions.ARMED_FORCES_ZONES``) are added too.
    - If ``timezone`` is the name of a time zone, it is the only zone of the key.

    Args:
        timezone: An IANA name. A name that does not exist is ignored.
        state: A code, a name, an abbreviation, or any other text.
        postal_code: Only the first three digits are used; in Alaska, the first five.
        phone: E.164.
    """
    zip_code = (postal_code or "").strip()
    if zip_code.isdigit() and len(zip_code) < _ZIP_DIGITS:
        # A spreadsheet removes the leading zeros of a ZIP code.
        zip_code = zip_code.zfill(_ZIP_DIGITS)
    prefix = zip_code[:5] if zip_code.startswith(_ALASKA_SPLIT_PREFIX) else zip_code[:3]
    area_code = phone[2:5] if phone.startswith("+1") else ""
    return _key(timezone or "", (state or "").strip().casefold(), prefix, area_code)


def zone_key_of(columns: Mapping[str, Any]) -> str:
    """Return the zone key of a contact: the states and time zones in which the person may be.

    Args:
        columns: Values of the contact, by column. ``phone`` is required; any other column that is
            missing counts as empty.
    """
    attributes = columns.get("attributes") or {}
    as_written = attributes.get(STATE_AS_WRITTEN)
    return zone_key(
        timezone=columns.get("timezone"),
        state=columns.get("state") or (as_written if isinstance(as_written, str) else None),
        postal_code=columns.get("postal_code"),
        phone=columns["phone"],
    )


def parse_zone_key(key: str) -> ZoneKey:
    """Split a zone key (the states and time zones in which a person may be) into its parts.

    Raises:
        ValueError: The text is not a zone key.
    """
    states, slash, zones = key.partition("/")
    if not (states and slash and zones):
        raise ValueError(f"not a zone key: {key!r}")
    return ZoneKey(
        states=() if states == _UNKNOWN else tuple(states.split(",")),
        zones=tuple(zones.split(",")),
    )


def join_zone_keys(one: str, other: str) -> str:
    """Return a zone key with the states and time zones of both zone keys.

    If one of them has no state, the result has no state.
    """
    keys = [parse_zone_key(one), parse_zone_key(other)]
    states = {state for key in keys for state in key.states} if all(k.states for k in keys) else ()
    zones = {zone for key in keys for zone in key.zones}
    return str(ZoneKey(tuple(sorted(states)), tuple(sorted(zones))))


@lru_cache(maxsize=4096)
def state_code(text: str | None) -> str | None:
    """Return the code of a state or province; None if it is unknown.

    The text may be a code, a name or an abbreviation. Full stops and case are ignored: ``Tex.``,
    ``N. Car.`` and ``n.h.`` are states.
    """
    if text is None:
        return None
    plain = _KIND_OF_STATE.sub("", " ".join(text.strip(" ,;").split()))
    for dot in ("", " "):
        name = " ".join(plain.replace(".", dot).split())
        if name.upper() in STATE_CODES:
            return name.upper()
        if code := regions.STATE_NAMES.get(name.casefold()):
            return code
    return regions.STATE_NAMES.get(plain.casefold())


def country_code(text: str) -> str:
    """Return US or CA if the text is a usual name of one of these countries.

    Otherwise return the text without extra spaces.
    """
    squeezed = " ".join(text.split())
    return _COUNTRIES.get(squeezed.casefold()) or squeezed


def has_known_states(country: str | None) -> bool:
    """Return whether this module knows the states of a country.

    True for the US and Canada, and also if the country is missing; False for every other text.
    """
    return not (country or "").strip() or country_code(country or "") in _COUNTRIES.values()


@lru_cache(maxsize=1024)
def is_time_zone(name: str) -> bool:
    """Return whether the time zone database knows this name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=_CACHE_SIZE)
def _key(timezone: str, state: str, zip_prefix: str, area_code: str) -> str:
    home = state_code(state) or regions.ZIP_STATES.get(zip_prefix[:3])
    forces = home if home in regions.ARMED_FORCES_ZONES else None
    if forces:
        home = None
    elif not home:
        forces = regions.MILITARY_ZIPS.get(zip_prefix[:3])
    phone_state = regions.AREA_CODE_STATES.get(area_code)
    states: set[str] = set()
    zones: set[str] = set()
    if home:
        states.add(home)
        zones.update(_zones_of_address(home, zip_prefix))
    if phone_state and phone_state != home:
        states.add(phone_state)
        zones.update(_zones_of_area_code(phone_state, area_code))
    if (state or forces) and not home:
        # The state in the address is unknown, so the person may live anywhere. The time zones of
        # the area code are not removed, because additional zones only shorten the allowed hours.
        states.clear()
        zones.update(regions.ANYWHERE)
        zones.update(regions.ARMED_FORCES_ZONES.get(forces or "", ()))
    if timezone and is_time_zone(timezone):
        zones = {timezone}
    return str(ZoneKey(tuple(sorted(states)), tuple(sorted(zones or regions.ANYWHERE))))


def _zones_of_address(state: str, zip_prefix: str) -> tuple[str, ...]:
    zones = regions.STATE_ZONES[state]
    if state == "AK" and zip_prefix.startswith(_ALASKA_SPLIT_PREFIX):
        return (regions.ALEUTIANS,) if zip_prefix in _ALEUTIAN_ZIPS else (regions.ALASKA,)
    decided = regions.ZIP_ZONES.get(zip_prefix[:3])
    # If the ZIP code belongs to another state, it does not decide between the time zones of this
    # state.
    return (decided,) if decided in zones and _zip_is_in(state, zip_prefix) else zones


def _zip_is_in(state: str, zip_prefix: str) -> bool:
    return regions.ZIP_STATES.get(zip_prefix[:3]) == state


def _zones_of_area_code(state: str, area_code: str) -> tuple[str, ...]:
    decided = regions.ONE_ZONE_AREA_CODES.get(area_code)
    return (decided,) if decided else regions.STATE_ZONES[state]

"""Where a person plausibly is: the zone key that decides the local time and the state's rules.

A key is ``<states>/<zones>``. ``<states>`` is a code (``MA``), several in order, joined by a comma
(``FL,MA``), or ``?`` when none is known. ``<zones>`` is one IANA zone or several in order, joined
by a comma; a text may leave only while it is allowed in all of them, under the rules of all states.
Zones contain slashes, so a key is split at its first::

    MA/America/New_York
    ?/America/Anchorage,America/Chicago,America/Denver,…
    FL,MA/America/New_York

There are a few hundred different keys, whatever the number of people.
"""

from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crm_api.domain import places

_UNKNOWN = "?"
_STATE_CODES = frozenset(places.STATE_ZONES)
_ALEUTIAN_ZIPS = frozenset({"99546", "99547"})
_ALASKA_SPLIT_PREFIX = "995"
_CACHE_SIZE = 65_536


@dataclass(frozen=True)
class ZoneKey:
    """A key taken apart; ``states`` is empty when none is known, ``zones`` never is."""

    states: tuple[str, ...]
    zones: tuple[str, ...]

    def __str__(self) -> str:
        """Write the key."""
        return f"{','.join(self.states) or _UNKNOWN}/{','.join(self.zones)}"


def zone_key(
    *, timezone: str | None, state: str | None, postal_code: str | None, phone: str
) -> str:
    """Tell where a person plausibly is.

    The address names the state, by its state or else its ZIP; the number's area code names one
    too. Where they differ, both count: people keep their numbers when they move. A state with two
    zones gives both, unless the ZIP, or without an address the area code, decides. A time zone that
    was set for the person wins over all this, but not over the states.

    Args:
        timezone: IANA name; one that does not exist is ignored.
        state: Code or name.
        phone: E.164.
    """
    zip_code = (postal_code or "").strip()
    prefix = zip_code[:5] if zip_code.startswith(_ALASKA_SPLIT_PREFIX) else zip_code[:3]
    area_code = phone[2:5] if phone.startswith("+1") else ""
    return _key(timezone or "", (state or "").strip().casefold(), prefix, area_code)


def parse_zone_key(key: str) -> ZoneKey:
    """Take a key apart.

    Raises:
        ValueError: It is not a key.
    """
    states, slash, zones = key.partition("/")
    if not (states and slash and zones):
        msg = f"not a zone key: {key!r}"
        raise ValueError(msg)
    return ZoneKey(
        states=() if states == _UNKNOWN else tuple(states.split(",")),
        zones=tuple(zones.split(",")),
    )


def state_code(text: str | None) -> str | None:
    """Return the code of a state or province given by code or name; None when it is neither."""
    if text is None:
        return None
    name = " ".join(text.replace(".", "").split())
    if name.upper() in _STATE_CODES:
        return name.upper()
    return places.STATE_NAMES.get(name.casefold()) or places.STATE_NAMES.get(text.casefold())


@lru_cache(maxsize=1024)
def is_time_zone(name: str) -> bool:
    """Tell whether the time zone database knows this name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=_CACHE_SIZE)
def _key(timezone: str, state: str, zip_prefix: str, area_code: str) -> str:
    home = state_code(state) or places.ZIP_STATES.get(zip_prefix[:3])
    phone_state = places.AREA_CODE_STATES.get(area_code)
    states: set[str] = set()
    zones: set[str] = set()
    if home:
        states.add(home)
        zones.update(_zones_of_address(home, zip_prefix))
    if phone_state and phone_state != home:
        states.add(phone_state)
        zones.update(_zones_of_area_code(phone_state, area_code))
    if timezone and is_time_zone(timezone):
        zones = {timezone}
    return str(ZoneKey(tuple(sorted(states)), tuple(sorted(zones or places.ANYWHERE))))


def _zones_of_address(state: str, zip_prefix: str) -> tuple[str, ...]:
    zones = places.STATE_ZONES[state]
    if state == "AK" and zip_prefix.startswith(_ALASKA_SPLIT_PREFIX):
        return (places.ALEUTIANS,) if zip_prefix in _ALEUTIAN_ZIPS else (places.ALASKA,)
    decided = places.ZIP_ZONES.get(zip_prefix[:3])
    # A ZIP of another state decides nothing about this one.
    return (decided,) if decided in zones and _zip_is_in(state, zip_prefix) else zones


def _zip_is_in(state: str, zip_prefix: str) -> bool:
    return places.ZIP_STATES.get(zip_prefix[:3]) == state


def _zones_of_area_code(state: str, area_code: str) -> tuple[str, ...]:
    decided = places.ONE_ZONE_AREA_CODES.get(area_code)
    return (decided,) if decided else places.STATE_ZONES[state]

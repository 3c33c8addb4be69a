"""What an import changes in a contact that exists."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from crm_api.domain.transfer.models import OnDuplicate
from crm_api.domain.transfer.rows import PersonRow
from crm_api.domain.zones import zone_key

_PLAIN = ("first_name", "last_name", "email", "company", "timezone")
_ADDRESS = ("street", "city", "state", "postal_code", "country")
CONTENT = (*_PLAIN, *_ADDRESS, "tags", "attributes")
"""The columns of a contact that a file can fill."""


def as_stored(person: PersonRow) -> dict[str, Any]:
    """Return a new contact's columns."""
    values = asdict(person)
    del values["line"]
    return values


def merge(
    stored: Mapping[str, Any], person: PersonRow, on_duplicate: OnDuplicate
) -> dict[str, Any] | None:
    """Bring a file's person into the contact with the same number.

    ``fill`` sets only what is empty, ``overwrite`` everything that the file says; what the file
    does not say stays. Tags are added in both. An address is one thing: where the file's
    contradicts the stored one, ``fill`` leaves all of it, because half of each would be nobody's.

    Args:
        stored: The contact's columns, of one that is not deleted.

    Returns:
        All columns after the change; None when nothing changes.
    """
    if on_duplicate is OnDuplicate.SKIP:
        return None
    overwrites = on_duplicate is OnDuplicate.OVERWRITE
    merged = {name: stored[name] for name in CONTENT}
    fields = list(_PLAIN)
    if overwrites or not _addresses_differ(stored, person):
        fields += _ADDRESS
    for name in fields:
        value = getattr(person, name)
        if value is not None and (overwrites or not stored[name]):
            merged[name] = value
    merged["tags"] = list(dict.fromkeys([*stored["tags"], *person.tags]))
    merged["attributes"] = (
        {**stored["attributes"], **person.attributes}
        if overwrites
        else {**person.attributes, **stored["attributes"]}
    )
    if all(merged[name] == stored[name] for name in CONTENT):
        return None
    merged["phone"] = person.phone
    merged["zone_key"] = zone_key(
        timezone=merged["timezone"],
        state=merged["state"],
        postal_code=merged["postal_code"],
        phone=person.phone,
    )
    return merged


def _addresses_differ(stored: Mapping[str, Any], person: PersonRow) -> bool:
    pairs = ((stored[name], getattr(person, name)) for name in _ADDRESS)
    return any(old and new and old.casefold() != new.casefold() for old, new in pairs)

"""The rules by which an import changes one existing contact, in plain Python."""

from collections.abc import Mapping
from typing import Any

from crm_api.domain.imports.contacts.models import OnDuplicate
from crm_api.domain.imports.contacts.rows import COLUMNS, PersonRow
from crm_api.domain.kit.contact_columns import ADDRESS_COLUMNS, PLAIN_COLUMNS
from crm_api.domain.kit.zones import zone_key

CONTENT = (*COLUMNS, "tags", "attributes")


def merge(
    stored: Mapping[str, Any], person: PersonRow, on_duplicate: OnDuplicate
) -> dict[str, Any] | None:
    """Return all columns of the contact after the import; None if no column changes."""
    if on_duplicate is OnDuplicate.SKIP:
        return None
    overwrites = on_duplicate is OnDuplicate.OVERWRITE
    merged = {name: stored[name] for name in CONTENT}
    fields = list(PLAIN_COLUMNS)
    if overwrites or not _addresses_differ(stored, person):
        fields += ADDRESS_COLUMNS
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
    merged["zone_key"] = zone_key(
        timezone=merged["timezone"],
        state=merged["state"],
        postal_code=merged["postal_code"],
        phone=person.phone,
    )
    return merged


def _addresses_differ(stored: Mapping[str, Any], person: PersonRow) -> bool:
    pairs = ((stored[name], getattr(person, name)) for name in ADDRESS_COLUMNS)
    return any(old and new and old.lower() != new.lower() for old, new in pairs)

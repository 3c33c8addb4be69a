"""What is known of several contacts, folded into one, and out of it again."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import PydanticCustomError

from crm_api.domain.contacts.schemas import ADDRESS_FIELDS, MAX_TAGS, check_attributes

PLAIN = ("first_name", "last_name", "email", "company", "timezone")
FIELDS = (*PLAIN, *ADDRESS_FIELDS)
CONTENT = (*FIELDS, "tags", "attributes")
Values = dict[str, Any]


def content_of(contact: object) -> Values:
    """Return what is known of a contact, by column."""
    return {name: getattr(contact, name) for name in CONTENT}


def fold(primary: Values, duplicates: Sequence[Values]) -> Values:
    """Fill what the primary lacks from the duplicates, the first of them first.

    An address is one thing: a duplicate whose address contradicts what is known by then gives no
    part of it. Tags and attributes beyond the limits of a contact are left out.
    """
    folded = {**primary, "attributes": dict(primary["attributes"])}
    for one in duplicates:
        fields = PLAIN if _contradict(folded, one) else FIELDS
        folded |= {name: one[name] for name in fields if not folded[name]}
        for name, value in one["attributes"].items():
            folded["attributes"] = _with(folded["attributes"], name, value)
    tags = dict.fromkeys(tag for one in (primary, *duplicates) for tag in one["tags"])
    folded["tags"] = list(tags)[: max(MAX_TAGS, len(primary["tags"]))]
    return folded


def unfold(now: Values, before: Values, after: Values, others: Sequence[Values]) -> Values:
    """Return the columns by which a merge is taken back; what was edited since stays.

    Args:
        now: The primary as it is.
        before: The primary as it was before the merge, and ``after`` it.
        others: Duplicates of other merges that still stand: what they have too stays.
    """
    changes = {
        name: before[name]
        for name in FIELDS
        if before[name] != after[name] and now[name] == after[name]
    }
    kept = {tag for one in others for tag in one["tags"]}
    added = set(after["tags"]) - set(before["tags"]) - kept
    if not added.isdisjoint(now["tags"]):
        changes["tags"] = [tag for tag in now["tags"] if tag not in added]
    gone = [
        name
        for name, value in after["attributes"].items()
        if name not in before["attributes"]
        and now["attributes"].get(name) == value
        and not any(name in one["attributes"] for one in others)
    ]
    if gone:
        changes["attributes"] = {
            name: value for name, value in now["attributes"].items() if name not in gone
        }
    return changes


def _contradict(known: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    pairs = ((known[name], other[name]) for name in ADDRESS_FIELDS)
    return any(mine and theirs and mine.casefold() != theirs.casefold() for mine, theirs in pairs)


def _with(attributes: Values, name: str, value: object) -> Values:
    if name in attributes:
        return attributes
    try:
        return check_attributes({**attributes, name: value})
    except PydanticCustomError:
        return attributes

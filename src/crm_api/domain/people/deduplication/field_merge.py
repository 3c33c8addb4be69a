"""Merge the fields of several contacts, and store the data that undoes such a merge."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.contact_columns import ADDRESS_COLUMNS, PLAIN_COLUMNS, TEXT_COLUMNS
from crm_api.domain.people.contacts.schemas import MAX_TAGS, check_attributes


class ListMembership(BaseModel):
    """A list that a contact was on before this contact was merged into another contact."""

    list_id: UUID
    added_at: datetime


class PropertyPlace(BaseModel):
    """A property (building) that a contact had before it was merged into another contact.

    Attributes:
        import_id: The import that attached the contact to the property; None if no import did, or
            if an earlier release stored the snapshot.
    """

    property_id: UUID
    role: str
    import_id: UUID | None = None
    added_at: datetime


class DuplicateBefore(BaseModel):
    """A duplicate, and its data before it was merged into another contact (the primary).

    Attributes:
        member_ids: The ids of the duplicate's campaign recipients (rows of
            ``campaign_membership``) that the merge moved to the primary.
        campaign_ids: The campaigns of the recipients in ``member_ids``.
        alias_ids: Contacts that were merged into this duplicate earlier, before this merge.
    """

    id: UUID
    phone: str
    content: dict[str, Any]
    lists: list[ListMembership] = Field(default_factory=list)
    properties: list[PropertyPlace] = Field(default_factory=list)
    member_ids: list[UUID] = Field(default_factory=list)
    conversation_ids: list[UUID] = Field(default_factory=list)
    note_ids: list[UUID] = Field(default_factory=list)
    task_ids: list[UUID] = Field(default_factory=list)
    appointment_ids: list[UUID] = Field(default_factory=list)
    quote_ids: list[UUID] = Field(default_factory=list)
    invoice_ids: list[UUID] = Field(default_factory=list)
    campaign_ids: list[UUID] = Field(default_factory=list)
    alias_ids: list[UUID] = Field(default_factory=list)


class Snapshot(BaseModel):
    """The data of contacts before a merge, and of the primary after the merge.

    The primary is the contact that remains.

    Attributes:
        joined_list_ids: The lists to which the merge added the primary.
        joined_property_ids: The properties to which the merge added the primary.
        member_ids: The ids of the recipients that the primary had before the merge. Recipients of a
            campaign are included only if the merge moved recipients of a duplicate in this
            campaign.
        skipped: The ids of the recipients whose waiting message the merge skipped, each with its
            status before the merge. Merges of earlier releases did not store them.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    joined_list_ids: list[UUID] = Field(default_factory=list)
    joined_property_ids: list[UUID] = Field(default_factory=list)
    member_ids: list[UUID] = Field(default_factory=list)
    skipped: dict[UUID, str] = Field(default_factory=dict)
    duplicates: list[DuplicateBefore]


CONTENT = (*TEXT_COLUMNS, "tags", "attributes")
Values = dict[str, Any]


def content_of(contact: object) -> Values:
    """Return the personal data of a contact, by column."""
    return {name: getattr(contact, name) for name in CONTENT}


def merge_fields(primary: Values, duplicates: Sequence[Values]) -> Values:
    """Return the fields of a contact, with missing values taken from the contact's duplicates.

    A missing value is taken from the first duplicate that has a value. If a part of a duplicate's
    address (such as the city) contradicts the address merged so far, the whole address of this
    duplicate is left out. The tags of all contacts are combined. Tags and attributes that exceed
    the limits of a contact are left out.
    """
    folded = {**primary, "attributes": dict(primary["attributes"])}
    for one in duplicates:
        fields = PLAIN_COLUMNS if _contradict(folded, one) else TEXT_COLUMNS
        folded |= {name: one[name] for name in fields if not folded[name]}
        for name, value in one["attributes"].items():
            folded["attributes"] = _with(folded["attributes"], name, value)
    tags = dict.fromkeys(tag for one in (primary, *duplicates) for tag in one["tags"])
    folded["tags"] = list(tags)[: max(MAX_TAGS, len(primary["tags"]))]
    return folded


def undo_fields(now: Values, before: Values, after: Values, others: Sequence[Values]) -> Values:
    """Return the new values of the primary contact's fields after the undo of a merge.

    Only fields that the undo changes are returned. If a text field, such as the name, was edited
    after the merge, the undo does not change the field.

    Args:
        now: The present fields of the primary.
        before: Its fields before the merge.
        after: Its fields after the merge.
        others: The fields of duplicates from other merges. The primary keeps the tags and
            attributes of these duplicates.
    """
    changes = {
        name: before[name]
        for name in TEXT_COLUMNS
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


def hand_over_additions(undone: Snapshot, others: Mapping[UUID, Snapshot]) -> dict[UUID, Snapshot]:
    """Return changed snapshots of other merges, by the id of the merge, when a merge is undone.

    A merge adds lists, properties, tags and attributes only if the primary does not have them yet.
    If a duplicate of another merge has one of them too, the primary keeps it after the undo. The
    oldest merge with such a duplicate then counts as the merge that added it, so that the undo of
    this merge removes it.

    Args:
        undone: The snapshot of the merge that is undone.
        others: The snapshots of the primary's other merges by the id of the merge, oldest first.
    """
    lists, properties = set(undone.joined_list_ids), set(undone.joined_property_ids)
    tags = set(undone.after["tags"]) - set(undone.before["tags"])
    names = set(undone.after["attributes"]) - set(undone.before["attributes"])
    changed = {}
    for key, other in others.items():
        own = other.duplicates
        shared_lists = lists & {place.list_id for one in own for place in one.lists}
        shared_properties = properties & {
            place.property_id for one in own for place in one.properties
        }
        shared_tags = tags & {tag for one in own for tag in one.content["tags"]}
        shared_names = names & {name for one in own for name in one.content["attributes"]}
        if not (shared_lists or shared_properties or shared_tags or shared_names):
            continue
        before = {
            **other.before,
            "tags": [tag for tag in other.before["tags"] if tag not in shared_tags],
            "attributes": {
                name: value
                for name, value in other.before["attributes"].items()
                if name not in shared_names
            },
        }
        changed[key] = other.model_copy(
            update={
                "before": before,
                "joined_list_ids": sorted({*other.joined_list_ids, *shared_lists}),
                "joined_property_ids": sorted({*other.joined_property_ids, *shared_properties}),
            }
        )
        lists -= shared_lists
        properties -= shared_properties
        tags -= shared_tags
        names -= shared_names
    return changed


def _contradict(known: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    pairs = ((known[name], other[name]) for name in ADDRESS_COLUMNS)
    return any(mine and theirs and mine.casefold() != theirs.casefold() for mine, theirs in pairs)


def _with(attributes: Values, name: str, value: object) -> Values:
    if name in attributes:
        return attributes
    try:
        return check_attributes({**attributes, name: value})
    except PydanticCustomError:
        return attributes

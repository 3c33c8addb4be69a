"""Hold the contacts of a batch request in memory, while the items of the request change them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import PydanticCustomError

from crm_api.domain.kit.contact_columns import TEXT_COLUMNS
from crm_api.domain.kit.zones import zone_key_of
from crm_api.domain.people.contacts.errors import (
    TAKEN,
    ContactExistsError,
    ContactNotFoundError,
    InvalidAttributesError,
)
from crm_api.domain.people.contacts.schemas import ContactCreate, ContactUpdate
from crm_api.domain.people.custom_fields.attribute_checks import Definitions
from crm_api.platform.ids import new_id

Columns = dict[str, Any]

BLANK: Mapping[str, Any] = {
    **dict.fromkeys(TEXT_COLUMNS),
    "tags": [],
    "attributes": {},
}
"""The column values of a contact that has only a phone number, and no other data."""


@dataclass
class LoadedContacts:
    """The contacts of a batch, and the ids of the contacts whose changes are not written yet.

    Each contact is a dict of its columns. Results of earlier items refer to this dict. So a change
    of a contact must not modify the dict, but replace it by a new dict. ``moved`` contains the ids
    of restored contacts and of contacts with a new zone key.
    """

    definitions: Definitions
    now: datetime
    rows: dict[UUID, Columns] = field(default_factory=dict)
    by_phone: dict[str, UUID] = field(default_factory=dict)
    added: set[UUID] = field(default_factory=set)
    changed: set[UUID] = field(default_factory=set)
    erased: set[UUID] = field(default_factory=set)
    moved: set[UUID] = field(default_factory=set)

    def load(self, rows: Iterable[Columns]) -> None:
        """Add contacts to this object. The caller has read them from the database.

        Args:
            rows: The contacts, each as a dict of its columns.
        """
        for row in rows:
            self.rows[row["id"]] = row
            self.by_phone[row["phone"]] = row["id"]

    def forget(self, *, contact_ids: Iterable[UUID], phones: Iterable[str]) -> None:
        """Remove contacts with these ids or phone numbers from memory.

        The caller must load them again.
        """
        gone = {self.by_phone[phone] for phone in phones if phone in self.by_phone}
        for contact_id in gone.union(contact_ids):
            row = self.rows.pop(contact_id, None)
            if row is not None:
                del self.by_phone[row["phone"]]

    def clean(self) -> None:
        """Mark all changes as written to the database."""
        for part in (self.added, self.changed, self.erased, self.moved):
            part.clear()

    def unknown(self) -> set[UUID]:
        """Return the ids of contacts that must be loaded, too.

        Loaded duplicates were merged into these contacts.
        """
        heads = {row["merged_into"] for row in self.rows.values()}
        return heads - {None} - self.rows.keys()

    def find(self, contact_id: UUID) -> Columns | None:
        """Return a loaded contact; None if it is not loaded or was deleted.

        For the id of a duplicate, return the contact that the duplicate was merged into.
        """
        row = self.rows.get(contact_id)
        if row is not None and row["merged_into"] is not None:
            row = self.rows.get(row["merged_into"])
        return row if row is not None and row["deleted_at"] is None else None

    def holder(self, phone: str) -> Columns | None:
        """Return the contact with this phone number.

        Return None if no contact has the number, or if the contact was deleted. For the number of a
        duplicate, return the contact that the duplicate was merged into.
        """
        contact_id = self.by_phone.get(phone)
        return None if contact_id is None else self.find(contact_id)

    def create(self, body: ContactCreate) -> Columns:
        """Add a contact. A deleted contact with this phone number is restored under its old id.

        Raises:
            ContactExistsError: Another contact has this phone number.
            FieldValuesError: An attribute does not fit its custom field, or a required attribute
                is missing.
        """
        values = body.columns()
        values["attributes"] = self.definitions.complete(
            values["attributes"], pointer="/attributes"
        )
        holder = self.holder(body.phone)
        if holder is not None:
            raise ContactExistsError(TAKEN, contact_id=str(holder["id"]))
        return self._begin(values)

    def begin(self, changes: ContactUpdate) -> Columns:
        """Add a new contact for an upsert item (an item that changes or adds a contact).

        Call this only if ``holder`` returned None for the phone number. If a deleted contact has
        the number, the new contact gets the id of the deleted contact. The database is not changed
        yet.

        Raises:
            FieldValuesError: An attribute does not fit its custom field, or a required one is
                missing.
            InvalidAttributesError: The attributes are too many or too large.
        """
        given = (changes.attributes or {}).items()
        complete = self.definitions.complete(
            {name: value for name, value in given if value is not None}, pointer="/attributes"
        )
        changes = changes.model_copy(update={"attributes": complete})
        return self._begin({**BLANK, **_columns(changes, {**BLANK, "phone": None})})

    def update(self, changes: ContactUpdate, *, contact_id: UUID) -> Columns:
        """Change the fields of a contact except its phone number.

        Raises:
            ContactNotFoundError: The contact does not exist or was deleted.
            FieldValuesError: An attribute does not fit its custom field, or a required attribute
                would be removed.
            InvalidAttributesError: The merged attributes are too many or too large.
        """
        row = self.find(contact_id)
        if row is None:
            raise ContactNotFoundError
        if "attributes" in changes.model_fields_set:
            merged = self.definitions.merged(changes.attributes, pointer="/attributes")
            changes = changes.model_copy(update={"attributes": merged})
        values = _columns(changes, row)
        # The request may give the number of a duplicate that was merged into this contact. The
        # contact keeps its own number.
        values.pop("phone", None)
        if not values:
            return row
        fresh = row | values | {"updated_at": self.now}
        fresh["zone_key"] = zone_key_of(fresh)
        if fresh["zone_key"] != row["zone_key"]:
            self.moved.add(row["id"])
        return self._put(fresh)

    def delete(self, contact_id: UUID) -> None:
        """Delete a contact. Its row stays, without personal data.

        Raises:
            ContactNotFoundError: The contact does not exist or was deleted.
        """
        row = self.find(contact_id)
        if row is None:
            raise ContactNotFoundError
        blank = {**row, **BLANK, "updated_at": self.now, "deleted_at": self.now}
        self._put(blank | {"zone_key": zone_key_of(blank)})
        self.erased.add(row["id"])
        # Duplicates that were merged into the contact become separate deleted contacts.
        for other in [one for one in self.rows.values() if one["merged_into"] == row["id"]]:
            self.rows[other["id"]] = other | {"merged_into": None}

    def in_lock_order(self, contact_ids: Iterable[UUID]) -> list[Columns]:
        """Return the contacts with these ids, sorted by phone number.

        All code locks contacts in this order, so that two transactions do not wait for each other.
        """
        return sorted((self.rows[one] for one in contact_ids), key=lambda row: str(row["phone"]))

    def _begin(self, values: Columns) -> Columns:
        known = self.by_phone.get(values["phone"])
        contact_id = known or new_id()
        if known is None:
            self.added.add(contact_id)
        else:
            self.moved.add(contact_id)
        return self._put(
            {
                **values,
                "id": contact_id,
                "zone_key": zone_key_of(values),
                "source": "api",
                "created_at": self.now,
                "updated_at": self.now,
                "deleted_at": None,
                "merged_into": None,
            }
        )

    def _put(self, row: Columns) -> Columns:
        self.rows[row["id"]] = row
        self.by_phone[row["phone"]] = row["id"]
        if row["id"] not in self.added:
            self.changed.add(row["id"])
        return row


def _columns(changes: ContactUpdate, row: Mapping[str, Any]) -> Columns:
    try:
        return changes.columns(row)
    except PydanticCustomError as error:
        raise InvalidAttributesError(error.message()) from error

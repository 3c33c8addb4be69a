"""Contacts and custom fields of the sandbox's workspace."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from crm_api.dev.sandbox.wire_format import OWNER, BadRequestError

FIELD_TYPES = frozenset(("address", "boolean", "date", "multi-select", "number", "string", "url"))


@dataclass
class AddressBook:
    """Contacts and fields; empty until a test writes some."""

    contacts: list[dict[str, Any]] = field(default_factory=list)
    fields: list[dict[str, str]] = field(default_factory=list)

    def write(self, body: dict[str, Any], *, at: str) -> dict[str, int]:
        """Add ``{fields?: [{name, key, type}], contacts?: [{firstName, phoneNumbers: […], …}]}``.

        Raises:
            BadRequestError: The provider has no such type of field.
        """
        self.define(body.get("fields", []))
        self.add(body.get("contacts", []), at=at)
        return {"contacts": len(self.contacts), "fields": len(self.fields)}

    def define(self, fields: list[dict[str, Any]]) -> None:
        """Add custom fields: ``{name, key, type}`` each.

        Raises:
            BadRequestError: The provider has no such type.
        """
        for one in fields:
            if one.get("type") not in FIELD_TYPES:
                raise BadRequestError(f"a field's type is one of {', '.join(sorted(FIELD_TYPES))}")
            self.fields.append({name: str(one[name]) for name in ("name", "key", "type")})

    def add(self, contacts: list[dict[str, Any]], *, at: str) -> None:
        """Add contacts: the members of ``defaultFields``, and ``customFields`` by key."""
        types = {one["key"]: one for one in self.fields}
        for one in contacts:
            custom = [
                {"id": uuid4().hex, "value": value, **types[key]}
                for key, value in one.get("customFields", {}).items()
            ]
            self.contacts.append(
                {
                    "id": uuid4().hex[:24],
                    "externalId": one.get("externalId"),
                    "source": one.get("source", "public-api"),
                    "sourceUrl": None,
                    "defaultFields": {
                        "company": one.get("company"),
                        "emails": _named("email", one.get("emails", [])),
                        "firstName": one.get("firstName"),
                        "lastName": one.get("lastName"),
                        "phoneNumbers": _named("mobile", one.get("phoneNumbers", [])),
                        "role": one.get("role"),
                    },
                    "customFields": custom,
                    "createdAt": at,
                    "updatedAt": at,
                    "createdByUserId": OWNER,
                }
            )


def _named(name: str, values: list[str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value, "id": uuid4().hex[:8]} for value in values]

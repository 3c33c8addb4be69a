"""The contacts and custom fields in the sandbox's address book."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from crm_api.dev.sandbox.wire_format import OWNER, BadRequestError

FIELD_TYPES = frozenset(("address", "boolean", "date", "multi-select", "number", "string", "url"))


@dataclass
class AddressBook:
    """Contacts and custom fields, in the provider's format; empty until some are added."""

    contacts: list[dict[str, Any]] = field(default_factory=list)
    fields: list[dict[str, str]] = field(default_factory=list)

    def write(self, body: dict[str, Any], *, at: str) -> dict[str, int]:
        """Add custom fields and contacts; return how many fields and contacts there are now.

        Args:
            body: ``{fields?: [{name, key, type}], contacts?: [{firstName, phoneNumbers: […], …}]}``
            at: When the contacts were created, in ISO 8601.

        Raises:
            BadRequestError: A field has an unknown type.
        """
        self.define(body.get("fields", []))
        self.add(body.get("contacts", []), at=at)
        return {"contacts": len(self.contacts), "fields": len(self.fields)}

    def define(self, fields: list[dict[str, Any]]) -> None:
        """Add custom fields, each with ``name``, ``key`` and ``type``.

        Raises:
            BadRequestError: A field has an unknown type.
        """
        for one in fields:
            if one.get("type") not in FIELD_TYPES:
                raise BadRequestError(
                    f"the type of a custom field must be one of {', '.join(sorted(FIELD_TYPES))}"
                )
            self.fields.append({name: str(one[name]) for name in ("name", "key", "type")})

    def add(self, contacts: list[dict[str, Any]], *, at: str) -> None:
        """Add contacts; each has fields such as ``firstName``.

        The field ``customFields`` of a contact maps the key of each custom field to its value.
        """
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

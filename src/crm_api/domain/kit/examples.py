"""Make examples for the API's documentation, and define values that several examples use.

The process that reads the file of an import loads this module, and starts faster without pydantic.
"""

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel, ConfigDict

ALIASES = {
    "candidate": "merge_candidate",
    "change": "tag_change",
    "do_not_contact_upload": "upload",
    "check": "webhook_health_check",
    "contact_merge": "merge",
    "delivery": "webhook_delivery",
    "duplicate": "second_contact",
    "endpoint": "webhook_endpoint",
    "event": "webhook_event",
    "fetch": "media_fetch",
    "field": "custom_field",
    "key": "api_key",
    "member": "contact",
    "merged": "second_contact",
    "primary": "contact",
    "reconciliation_run": "reconciliation",
    "subject": "message",
}
"""The kind of resource that a field refers to, by the name of the field without ``_id``.

For example, the field ``primary_id`` has the id of a ``contact``. All fields that refer to the same
kind of resource show the same example id.
"""
_FIRST = "01a1"
"""The first digits of a UUIDv7 that was generated in November 2026."""


def example_id(thing: str) -> str:
    """Return the fixed example id of a kind of resource, such as ``contact``."""
    digits = blake2b(ALIASES.get(thing, thing).encode(), digest_size=14).hexdigest()
    return f"{_FIRST}{digits[:4]}-{digits[4:8]}-7{digits[8:11]}-a{digits[11:14]}-{digits[14:26]}"


def example(*bases: "type[BaseModel]", **fields: Any) -> "ConfigDict":  # noqa: ANN401 - JSON
    """Return the pydantic configuration that gives a model an example.

    The example of a request has only the fields that ``bases`` and ``fields`` give. The example of
    a response has all fields: a field that is not given gets a value that fits its name and type.

    Args:
        bases: Models whose example fields are copied.
        fields: Further fields, as JSON values. They override ``bases``.
    """
    given: dict[str, Any] = {}
    for base in bases:
        given |= read_example(base.model_config.get("json_schema_extra")) or {}
    # The example is stored as JSON text, because FastAPI would remove its null members from the
    # OpenAPI document.
    return {"json_schema_extra": {"example": json.dumps(given | fields)}}


def read_example(schema: object) -> Any:  # noqa: ANN401 - JSON
    """Return the example of a model's schema; None if the schema has no example."""
    text = schema.get("example") if isinstance(schema, dict) else None
    return None if text is None else json.loads(text)


CONTACT = example_id("contact")
LIST = example_id("list")
LINE = example_id("line")
CAMPAIGN = example_id("campaign")
SEGMENT = example_id("segment")

TEXT = (
    'Hi {{ first_name | default: "there" }}, Granite Foundations here. We look at foundations in '
    "Quincy next week, free of charge. Shall we come by? Reply STOP to opt out."
)
SENT = (
    "Hi Ada, Granite Foundations here. We look at foundations in Quincy next week, free of "
    "charge. Shall we come by? Reply STOP to opt out."
)
REPLY = "Yes please, Tuesday after four."
NOW = "2026-11-30T14:05:12.000Z"
DIGEST = "636d41fedaafd0477d12396aa9b731c9699b679a3303d3f4ef66ed5d6e1cd254"
PASSWORD = "correct horse battery staple"  # noqa: S105 - made up, like the next four
TICKET = "crmt_sjBvaKN4fpFS9IDEgZzqiWdJO2IngcizmeD6FwEZW00"
ACCESS_TOKEN = "crms_Wq3xY7bT1kLr9uVe2nHs5pAz8cFd4gJm6QiOtRyXw0"  # noqa: S105
REFRESH_TOKEN = "crmr_p3Xb5IzSE4CQvia6WzZJIKsni56RwSV91jRb1CUIe8"  # noqa: S105
WEBHOOK_SECRET = "whsec_Zm91bmRhdGlvbnMgYXJlIGNoZWNrZWQgaGVyZQ=="  # noqa: S105

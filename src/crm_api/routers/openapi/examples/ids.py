"""Ids of the things in the examples, made from their names, so that they agree everywhere."""

from hashlib import blake2b

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
_FIRST = "01a1"
"""The first digits of a UUIDv7 of November 2026."""


def example_id(thing: str) -> str:
    """Return the id of a thing, such as ``contact``: always the same."""
    digits = blake2b(ALIASES.get(thing, thing).encode(), digest_size=14).hexdigest()
    return f"{_FIRST}{digits[:4]}-{digits[4:8]}-7{digits[8:11]}-a{digits[11:14]}-{digits[14:26]}"


CONTACT = example_id("contact")
LIST = example_id("list")
LINE = example_id("line")
CAMPAIGN = example_id("campaign")
SEGMENT = example_id("segment")

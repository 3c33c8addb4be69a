"""Contacts for the browser tests of the console."""

from typing import Any

from tests.console.conftest import Service


def person(service: Service, phone: str, **fields: Any) -> Any:
    """Create a contact through the API; return the contact."""
    return service.api("POST", "/contacts", json={"phone": phone, **fields})

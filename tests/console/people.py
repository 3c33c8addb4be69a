"""People for the journeys."""

from typing import Any

from tests.console.conftest import Service


def person(service: Service, phone: str, **fields: Any) -> Any:
    """Create a contact by the API."""
    return service.api("POST", "/contacts", json={"phone": phone, **fields})

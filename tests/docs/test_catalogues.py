"""Prove that the generated reference pages match the code."""

from pathlib import Path

import pytest
from tests.docs.catalogues import COMMAND, catalogues


@pytest.mark.parametrize("page", catalogues(), ids=lambda page: page.name)
def test_page_matches_the_code(page: Path) -> None:
    assert page.read_text() == catalogues()[page], f"run: {COMMAND}"


def test_pages_describe_errors_and_events_for_callers() -> None:
    text = "".join(catalogues().values())

    assert "| `contact_exists` | Another contact already has this phone number" in text
    assert "Another contact already has this number. Change that contact" in text
    assert "| `campaign_id` | id or null | The id of the campaign to which the message " in text
    assert "| `malformed` |" not in text

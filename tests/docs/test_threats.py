"""What the page on security points at exists."""

import re

import pytest
from tests.docs.pages import DOCS

ROOT = DOCS.parent
PLACES = (ROOT / "src" / "crm_api", ROOT / "tests", ROOT)
NAMED = sorted(set(re.findall(r"`([\w./-]+/[\w.-]+|\w+\.py)`", (DOCS / "security.md").read_text())))


@pytest.mark.parametrize("name", [name for name in NAMED if not name.startswith(("/", "."))])
def test_file_that_is_named_exists(name: str) -> None:
    assert any((place / name).exists() for place in PLACES), name


def test_each_boundary_says_what_remains() -> None:
    page = (DOCS / "security.md").read_text()
    boundaries = page.split("## Threats by boundary")[1].split("\n## ")[0].split("\n### ")[1:]

    assert len(boundaries) == 7
    assert all("**Remains**" in boundary for boundary in boundaries)

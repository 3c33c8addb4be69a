"""The documentation site builds, and nothing that it names is missing."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, ROOT

CONFIGURATION = ROOT / "zensical.toml"


def test_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    shutil.copy(CONFIGURATION, tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")

    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "start" / "index.html").is_file()


def test_every_page_is_in_the_navigation_once() -> None:
    named = re.findall(r'"([a-z-]+\.md)"', CONFIGURATION.read_text())

    assert sorted(named) == sorted(page.name for page in DOCS.glob("*.md"))


def test_readme_links_to_what_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())

    assert [link for link in links if not (ROOT / link).exists()] == []

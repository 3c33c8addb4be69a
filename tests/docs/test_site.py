"""Prove that the documentation site builds without a missing page, link or anchor."""

import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, ROOT, site_pages

CONFIGURATION = ROOT / "zensical.toml"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, and return its folder. A broken link or anchor fails the build."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(CONFIGURATION, folder)
    shutil.copytree(DOCS, folder / "docs")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def shown(site: Path, page: Path) -> str:
    """Return the HTML of a page on the site."""
    folder = site if page.stem == "index" else site / page.relative_to(DOCS).with_suffix("")
    return (folder / "index.html").read_text()


def test_site_builds_without_a_broken_link(site: Path) -> None:
    assert "First campaign in five minutes" in shown(site, DOCS / "tutorial" / "first-campaign.md")


def test_lists_and_tables_are_rendered(site: Path) -> None:
    """Prove that the site shows each list and table as such, not as plain text.

    The site needs a blank line before a list. GitHub does not need it.
    """
    paragraphs = [
        (page.name, unescape(paragraph))
        for page in site_pages()
        for paragraph in re.findall(r"<p>(.*?)</p>", shown(site, page), re.DOTALL)
    ]

    assert [
        (page, line)
        for page, paragraph in paragraphs
        for line in paragraph.split("\n")
        if re.match(r"\s*(\||- |\d+\. |```)", line)
    ] == []


def test_every_page_is_in_the_navigation_once() -> None:
    named = re.findall(r'"([a-z/-]+\.md)"', CONFIGURATION.read_text())

    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in site_pages())


def test_links_of_the_readme_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())

    assert [link for link in links if not (ROOT / link).exists()] == []

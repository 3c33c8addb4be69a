"""Prove that README, ARCHITECTURE and CONTRIBUTING are short, and that their names exist.

The names are paths, classes, functions, settings, scopes and `make` targets.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, ROOT, site_pages

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.identity.users.models import UserRole
from crm_api.platform.settings import Settings

LONGEST = {"README.md": 6_500, "ARCHITECTURE.md": 40_000, "CONTRIBUTING.md": 30_000}
"""The largest length of each page in characters."""
MAP = ROOT / "ARCHITECTURE.md"
GUIDE = ROOT / "CONTRIBUTING.md"
PACKAGE = ROOT / "src" / "crm_api"
QUOTED = re.compile(r"`([^`]+)`")
PATH = re.compile(
    r"\w[\w./-]*/[\w./-]*|\.\w[\w./-]*/[\w./-]+|[\w-]+\.(py|md|sql|toml|json|ya?ml|txt|mako|tsv)"
)
PLACE = re.compile(
    r"(src|domain|platform|routers|workers|dev|cli|tests|migrations|deploy|clients|docs)/[\w./-]+"
)
"""A path that begins with a folder of the project. Other paths on the pages may be files of the
reader."""
NAME = re.compile(r"_?[A-Z][A-Za-z]+|[A-Z]+(_[A-Z]+)*|_?[a-z]+(_[a-z]+)+|_[A-Z]+(_[A-Z]+)*")
"""The name of a class or constant, or the name of a function that has more than one word."""
NEVER_COMMITTED = (".cache/", ".venv/", ".crm-data")


def paths_of(line: str) -> list[str]:
    """Return the paths that a line has in backquotes, each with its ``::test`` if it has one."""
    quoted = [name for name in QUOTED.findall(line) if PATH.fullmatch(name.partition("::")[0])]
    return [name for name in quoted if not name.startswith(NEVER_COMMITTED)]


def missing(page: Path) -> Iterator[str]:
    """Yield each path on a page that does not exist, with the page's name and the line number."""
    for number, line in enumerate(page.read_text().split("\n"), start=1):
        folders = [ROOT, PACKAGE]
        for name in paths_of(line):
            path, _, test = name.partition("::")
            found = [folder / path for folder in folders if (folder / path).exists()]
            if not found or (test and not _has_test(found[0], test)):
                yield f"{page.name}:{number}: {name}"
            elif line.startswith("|"):
                folders.append(found[0] if found[0].is_dir() else found[0].parent)


def _has_test(path: Path, test: str) -> bool:
    return re.search(rf"^(async )?def {test}\(", path.read_text(), re.MULTILINE) is not None


@pytest.mark.parametrize("name", LONGEST)
def test_page_is_within_its_length_limit(name: str) -> None:
    assert len((ROOT / name).read_text()) <= LONGEST[name]


@pytest.mark.parametrize("page", [MAP, GUIDE], ids=lambda page: page.stem.lower())
def test_every_path_exists(page: Path) -> None:
    assert list(missing(page)) == []
    assert sum(len(paths_of(line)) for line in page.read_text().split("\n")) > 40


def test_code_that_other_pages_name_exists() -> None:
    named = {
        (page.name, name)
        for page in site_pages()
        for name in QUOTED.findall(page.read_text())
        if PLACE.fullmatch(name)
    }

    assert len(named) > 40
    assert {
        (page, name)
        for page, name in named
        if not any((folder / name).exists() for folder in (ROOT, PACKAGE))
    } == set()


def test_every_name_of_the_code_exists() -> None:
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), ROOT / "Makefile"]
    files += (ROOT / "migrations").rglob("*.py")
    known = {word for file in files for word in re.findall(r"\w+", file.read_text())}
    named = {name for name in QUOTED.findall(GUIDE.read_text()) if NAME.fullmatch(name)}

    assert len(named) > 50
    assert named - known == set()


def test_missing_path_is_reported(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`README.md`, `domain/kit` and `tests/docs/pages.py::setup`\n"
        "| `domain/kit/phone.py`, `paging.py`, `nothing.py` |\n"
        "`phone.py`, `tests/docs/pages.py::nothing`, `POST /v1/lines/sync`, `message.status`\n"
    )

    assert list(missing(page)) == [
        "page.md:2: nothing.py",
        "page.md:3: phone.py",
        "page.md:3: tests/docs/pages.py::nothing",
    ]


def test_every_recipe_states_its_number_of_files() -> None:
    recipes = re.findall(
        r"^### (.+?) \((\d+) files?\)\n(.*?)(?=^##|\Z)", GUIDE.read_text(), re.MULTILINE | re.DOTALL
    )
    counted = {
        title: (int(count), len(re.findall(r"^\d+\. ", text, re.MULTILINE)))
        for title, count, text in recipes
    }

    assert len(counted) >= 13
    assert {title: both for title, both in counted.items() if both[0] != both[1]} == {}


def test_make_targets_on_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [line for name in LONGEST for line in (ROOT / name).read_text().split("\n")]
    quoted = " ".join(text for line in lines for text in QUOTED.findall(line))
    named = set(re.findall(r"\bmake ([a-z-]+)", quoted))

    assert len(named) > 10
    assert named - targets == set()


def test_every_setting_is_on_a_page() -> None:
    pages = "".join(page.read_text() for page in site_pages())
    names = {f"CRM_{name.upper()}" for name in Settings.model_fields}

    assert {name for name in names if not re.search(rf"\b{name}\b", pages)} == set()


def test_index_links_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([a-z/-]+\.md)", (DOCS / "index.md").read_text()))

    assert linked == {str(page.relative_to(DOCS)) for page in site_pages()} - {"index.md"}


@pytest.mark.parametrize(("page", "words"), [("integrators.md", Scope), ("frontends.md", UserRole)])
def test_every_scope_and_role_has_a_row(page: str, words: Iterable[str]) -> None:
    first_cells = " ".join(
        re.findall(r"^\| ([^|]+) \|", (DOCS / "tutorial" / page).read_text(), re.MULTILINE)
    )

    assert [word for word in words if f"`{word}`" not in first_cells] == []

"""Each rule in `tests/rules.md` refers to a module and a test that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "tests" / "rules.md"
PACKAGE = ROOT / "src" / "crm_api"
FOLDERS = (
    PACKAGE,
    PACKAGE / "domain",
    PACKAGE / "domain" / "messaging",
    PACKAGE / "domain" / "messaging" / "sends",
)
ROW = re.compile(
    r"^\| .* \| (?P<modules>[^|]*) \| `(?P<file>\w+)::(?P<test>\w+)` \|$", re.MULTILINE
)
NO_MODULE = re.compile(r"^(?:all of them|routers|migrations.*|trigger on .*)$")


def test_page_names_modules_and_tests_that_exist() -> None:
    rows = list(ROW.finditer(PAGE.read_text()))
    defined = {
        (path.stem.removeprefix("test_"), name)
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def test_(\w+)\(", path.read_text())
    }

    assert len(rows) > 400
    assert [row[0] for row in rows if (row["file"], row["test"]) not in defined] == []
    assert [row[0] for row in rows if not all(map(is_module, row["modules"].split(", ")))] == []


def is_module(name: str) -> bool:
    path = name.partition(" (")[0]
    return bool(NO_MODULE.match(name)) or any(
        (folder / f"{path}.py").is_file() or (folder / path).is_dir() for folder in FOLDERS
    )

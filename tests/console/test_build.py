"""The committed files of the console match their source code, and stay small."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clients import node
from tests.console.build import BUILT, build
from tests.missing_tools import end_without

from crm_api.routers.http.console_pages import PAGES

BUDGET = json.loads((node.CONSOLE / "budget.json").read_text())
MANIFEST: dict[str, Any] = json.loads((BUILT / "manifest.json").read_text())
ENTRY = next(name for name, one in MANIFEST.items() if one.get("isEntry"))


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.timeout(300)
def test_committed_output_matches_the_source(tmp_path: Path) -> None:
    if (reason := node.why_not(node.CONSOLE)) is not None:
        end_without(reason)

    build(tmp_path / "built")

    made, committed = content_of(tmp_path / "built"), content_of(BUILT)
    assert list(made) == list(committed), "Run `make console` and commit src/crm_api/console."
    assert made == committed


def loaded_with(name: str) -> set[str]:
    """Return all files that the browser loads for a chunk: script, styles and imported chunks."""
    files, waiting = set[str](), [name]
    while waiting:
        chunk = MANIFEST[waiting.pop()]
        if chunk["file"] not in files:
            files |= {chunk["file"], *chunk.get("css", ())}
            waiting += chunk.get("imports", ())
    return files


def kilobytes(files: set[str]) -> float:
    return sum(len(gzip.compress((BUILT / file).read_bytes(), 9)) for file in files) / 1000


def test_first_load_stays_within_the_budget() -> None:
    assert kilobytes(loaded_with(ENTRY)) <= BUDGET["initial_kb_gzip"]


@pytest.mark.parametrize("route", MANIFEST[ENTRY]["dynamicImports"])
def test_each_route_stays_within_the_budget(route: str) -> None:
    assert kilobytes(loaded_with(route) - loaded_with(ENTRY)) <= BUDGET["route_kb_gzip"]


def test_service_and_console_have_the_same_addresses() -> None:
    source = (node.CONSOLE / "src" / "routes.tsx").read_text()
    paths = {re.sub(r"\$(\w+)", r"{\1}", path) for path in re.findall(r'path: "(/[^"]+)"', source)}

    assert paths - {"/"} <= set(PAGES)


def test_page_names_no_other_host_and_has_no_inline_script() -> None:
    page = (BUILT / "index.html").read_text()

    assert not re.search(r"https?://|<style|<script>| style=| on\w+=", page)


def literals(text: str) -> set[str]:
    """Return the texts that a source file shows: the first argument of each call of `t`."""
    return {json.loads(f'"{found}"') for found in re.findall(r'\bt\(\s*"((?:[^"\\]|\\.)*)"', text)}


def test_every_text_has_a_translation_and_no_translation_is_unused() -> None:
    spanish = json.loads((node.CONSOLE / "src" / "locales" / "es.json").read_text())
    sources = [
        path.read_text()
        for path in (node.CONSOLE / "src").rglob("*.ts*")
        if "generated" not in path.parts
    ]
    used = set[str]().union(*map(literals, sources))

    assert used == set(spanish), "Change console/src/locales/es.json."


def test_statuses_of_recipients_have_different_names() -> None:
    source = (node.CONSOLE / "src" / "ui" / "words.ts").read_text()
    function = source.split("function recipientStatus")[1].split("[status]")[0]
    english = literals(function)
    spanish = json.loads((node.CONSOLE / "src" / "locales" / "es.json").read_text())

    assert len(english) == 10
    assert len({spanish[one] for one in english}) == len(english)


def spoken_names(text: str) -> Iterator[tuple[str, str]]:
    """Yield, per control, the name that a screen reader speaks, and the text that is shown."""
    for name in re.finditer(r'aria-label=\{t\("([^"]+)"', text):
        end, depth = name.end(), 1
        while depth or text[end] != ">" or text[end - 1] == "=":
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if shown := re.match(r'\s*\{t\("([^"]+)"', text[end + 1 :]):
            yield name[1], shown[1]


def test_spoken_name_of_each_control_contains_the_text_that_it_shows() -> None:
    """Prove that a control can be used by voice: its spoken name contains the shown text.

    Source: WCAG 2.2, success criterion 2.5.3, Label in Name.
    """
    spanish = json.loads((node.CONSOLE / "src" / "locales" / "es.json").read_text())
    names = {
        pair
        for path in (node.CONSOLE / "src").rglob("*.tsx")
        for name, shown in spoken_names(path.read_text())
        for pair in ((name, shown), (spanish[name], spanish[shown]))
    }

    assert len(names) > 30
    assert [(name, shown) for name, shown in names if shown.lower() not in name.lower()] == []

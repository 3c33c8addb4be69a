"""Run every block of the documentation, and prove that its output matches the page."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, SETUP_PAGE, Kind, blocks_of, name_of, pages, steps_of
from tests.docs.reading import Live, Reader

NOT_RUN = 24
"""The number of blocks that are not run, for example pictures, or commands that other tests run.
The page has a reason for each of these blocks."""
_OWN_LINES = {"6175550100", "6175550199"}
_SIGN_IN = re.compile(r"\$API\b|\$KEY\b")


MOVES_TIME = DOCS / "how-to" / "sandbox.md"
RUN = [page for page in pages() if any(block.reason is None for block in blocks_of(page))]


@pytest.mark.parametrize("page", [page for page in RUN if page != MOVES_TIME], ids=name_of)
def test_blocks_of_the_page_give_the_shown_outputs(page: Path, live: Live, tmp_path: Path) -> None:
    Reader(live, tmp_path / "crm-api").follow(steps_of(blocks_of(page)))


@pytest.mark.timeout(600)
def test_blocks_of_the_page_that_moves_the_clock_give_the_shown_outputs(
    own_live: Live, tmp_path: Path
) -> None:
    Reader(own_live, tmp_path / "crm-api").follow(steps_of(blocks_of(MOVES_TIME)))


def test_number_of_blocks_that_are_not_run_is_fixed() -> None:
    marked = [block for page in pages() for block in blocks_of(page) if block.reason is not None]

    assert len(marked) == NOT_RUN, "\n".join(f"{block.place}: {block.reason}" for block in marked)


def test_pages_that_use_the_variables_name_the_page_that_sets_them() -> None:
    for page in RUN:
        commands = [step.block for step in steps_of(blocks_of(page))]
        if any(block.kind is Kind.SHELL and _SIGN_IN.search(block.text) for block in commands):
            assert SETUP_PAGE.name in page.read_text() or page == SETUP_PAGE, page


def test_no_two_pages_use_the_same_phone_number() -> None:
    """Prove that a reader can follow the pages in any order."""
    pages_of: dict[str, set[str]] = defaultdict(set)
    for page in RUN:
        for step in steps_of(blocks_of(page)):
            for area, rest in re.findall(r"(\d{3})\W{0,2}555\W?(01\d\d)", step.block.text):
                pages_of[f"{area}555{rest}"].add(page.name)

    shared = {number: names for number, names in pages_of.items() if len(names) > 1}
    assert {number: shared[number] for number in shared.keys() - _OWN_LINES} == {}

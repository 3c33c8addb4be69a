"""The fenced blocks (code and outputs) of the documentation, and how each block is run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROOT_PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
REPORTS = ("tests/crash/REPORT.md", "tests/chaos/REPORT.md", "benchmarks/load/REPORT.md")
"""Results of the long tests. Each report is in the folder of its tests."""
KINDS = ("tutorial", "how-to", "reference", "explanation")
"""The kinds of pages. The pages of a kind are in the folder with its name."""
SETUP_PAGE = DOCS / "tutorial" / "first-campaign.md"
"""The first commands of this page set the variables that the commands on every page use."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<language>.*)$")
_NOT_RUN = re.compile(r"^ *<!-- not run: (?P<reason>\S.*\S) -->$")
_DIFFERS = "<!-- figures differ from run to run -->"


class Kind(StrEnum):
    """The kind of a block, which follows from its language."""

    SHELL = "sh"
    PYTHON = "python"
    JAVASCRIPT = "javascript"
    TYPESCRIPT = "typescript"
    REQUEST = "http"
    """A request, sent with the admin key. A block that begins with ``HTTP/`` is a response."""
    SETTINGS = "ini"
    """Lines of a `.env` file."""
    OUTPUT = "output"
    """The output of the block before it: commands, a program or a request."""


LANGUAGES = {kind.value: kind for kind in Kind} | {
    "bash": Kind.SHELL,
    "js": Kind.JAVASCRIPT,
    "ts": Kind.TYPESCRIPT,
    "json": Kind.OUTPUT,
    "text": Kind.OUTPUT,
    "csv": Kind.OUTPUT,
}


class PageError(Exception):
    """A page breaks a rule on which the tests of the pages depend."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block of a page.

    Attributes:
        line: The line number of its opening fence, from 1.
        reason: Why the block is not run; None if it is run.
        differs: True if the figures of its output differ from run to run.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str | None
    differs: bool

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    @property
    def kind(self) -> Kind:
        """The kind of the block, which follows from its language.

        Raises:
            PageError: The language is unknown.
        """
        kind = LANGUAGES.get(self.language)
        if kind is None:
            known = ", ".join(sorted(LANGUAGES))
            message = f"{self.place}: a block of '{self.language}' is not known; take {known}"
            raise PageError(message)
        if kind is Kind.REQUEST and self.text.startswith("HTTP/"):
            return Kind.OUTPUT
        return kind


@dataclass(frozen=True, kw_only=True)
class Step:
    """A block that is run, and the outputs that the page shows for it."""

    block: Block
    shown: tuple[Block, ...]


def pages() -> list[Path]:
    """Return every page whose blocks are run."""
    return [*(ROOT / name for name in (*ROOT_PAGES, *REPORTS)), *sorted(DOCS.rglob("*.md"))]


def site_pages() -> list[Path]:
    """Return the pages of the documentation site.

    These are all pages in `docs`, except the decisions.
    """
    return [
        DOCS / "index.md",
        *(page for kind in KINDS for page in sorted((DOCS / kind).glob("*.md"))),
    ]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page in their order.

    Raises:
        PageError: A fence is not closed.
    """
    return list(_blocks(page, page.read_text().split("\n")))


def steps_of(blocks: list[Block]) -> list[Step]:
    """Pair each block that is run with the outputs that follow it.

    Raises:
        PageError: A language is unknown, or an output has no block before it that is run.
    """
    steps: list[Step] = []
    for block in blocks:
        if block.reason is not None:
            continue
        if block.kind is not Kind.OUTPUT:
            steps.append(Step(block=block, shown=()))
        elif not steps:
            message = f"{block.place}: no block before this output is run"
            raise PageError(message)
        else:
            last = steps[-1]
            steps[-1] = Step(block=last.block, shown=(*last.shown, block))
    return steps


def setup() -> Block:
    """Return the first shell block of the setup page. It sets the variables for every page."""
    return next(
        step.block for step in steps_of(blocks_of(SETUP_PAGE)) if step.block.kind is Kind.SHELL
    )


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    fences = [(number, found) for number, line in enumerate(lines) if (found := _FENCE.match(line))]
    opened: tuple[int, re.Match[str]] | None = None
    for number, found in fences:
        if opened is None:
            opened = (number, found)
            continue
        begin, opening = opened
        if found["language"].strip() or not found["ticks"].startswith(opening["ticks"]):
            continue
        indent = len(opening["indent"])
        # The last line before the block that is not blank may be a comment about the block.
        mark = next((line for line in reversed(lines[:begin]) if line.strip()), "")
        yield Block(
            page=page,
            line=begin + 1,
            language=opening["language"].strip(),
            text="".join(f"{line[indent:]}\n" for line in lines[begin + 1 : number]),
            reason=_reason(mark),
            differs=mark.strip() == _DIFFERS,
        )
        opened = None
    if opened is not None:
        message = f"{name_of(page)}:{opened[0] + 1}: a fence is not closed"
        raise PageError(message)


def _reason(mark: str) -> str | None:
    found = _NOT_RUN.match(mark)
    return found["reason"] if found else None

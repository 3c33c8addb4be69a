"""Prove that the tests of the pages refuse a faulty page."""

from pathlib import Path

import pytest
from tests.docs.comparing import fits
from tests.docs.pages import Block, PageError, Step, blocks_of, steps_of
from tests.docs.reading import Live, Reader, WrongPageError, read_settings

ADA = '{"phone": "617-555-0131"}'
EXISTS = f"""curl -s -o /dev/null -H "$KEY" -H "$JSON" $API/v1/contacts -d '{ADA}'
curl -s -H "$KEY" -H "$JSON" $API/v1/contacts -d '{ADA}'
"""


def page(folder: Path, *parts: tuple[str, str]) -> list[Step]:
    """Write a page with these blocks, and return the steps of the page."""
    path = folder / "page.md"
    path.write_text("\n".join(f"```{language}\n{text}```" for language, text in parts))
    return steps_of(blocks_of(path))


@pytest.fixture
def reader(live: Live, tmp_path: Path) -> Reader:
    return Reader(live, tmp_path / "project")


def test_variables_carry_over_and_outputs_are_compared(reader: Reader, tmp_path: Path) -> None:
    reader.follow(page(tmp_path, ("sh", "NAME=Ada\n"), ("sh", "echo $NAME\n"), ("text", "Ada\n")))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([("sh", "echo Ada\n"), ("text", "Leo\n")], "shows"),
        ([("sh", "false\necho Ada\n"), ("text", "Ada\n")], "failed"),
        ([("sh", "echo $NOWHERE\n")], "failed"),
        ([("sh", 'curl -s -H "$KEY" $API/v1/nothing\n')], "404"),
        ([("sh", EXISTS)], "409"),
        ([("http", "GET /v1/nothing\n")], "404"),
        ([("http", "GET /healthz\n"), ("json", '{"status": "ill"}\n')], "shows"),
        ([("python", "print(1)\n"), ("text", "2\n")], "shows"),
        ([("python", "1 / 0\n")], "failed"),
        ([("javascript", "console.log(1);\n"), ("text", "2\n")], "shows"),
        ([("typescript", "const one: number = 1; console.log(one);\n"), ("text", "2\n")], "shows"),
        ([("ini", "CRM_PROT=8000\n")], "is not a setting"),
        ([("ini", "CRM_PORT=8000  # the usual one\n")], "CRM_PORT"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0][1].split("\n")[0],
)
def test_faulty_page_is_refused(
    reader: Reader, tmp_path: Path, parts: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(WrongPageError, match=message):
        reader.follow(page(tmp_path, *parts))


def test_refused_request_passes_if_the_page_shows_its_response(
    reader: Reader, tmp_path: Path
) -> None:
    shown = '{…"status": 409, …, "code": "contact_exists", …}\n'

    reader.follow(page(tmp_path, ("sh", EXISTS), ("json", shown)))


@pytest.mark.parametrize(
    "parts", [[("rust", "fn main() {}\n")], [("", "x\n")], [("text", "of nothing\n")]]
)
def test_block_that_cannot_be_run_is_refused(tmp_path: Path, parts: list[tuple[str, str]]) -> None:
    with pytest.raises(PageError):
        page(tmp_path, *parts)


def test_mark_with_a_reason_excludes_a_block(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("<!-- not run: a picture -->\n\n```text\n<o>\n```\n")

    (block,) = blocks_of(path)

    assert (block.reason, steps_of([block])) == ("a picture", [])


def test_unclosed_fence_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("```sh\necho\n")

    with pytest.raises(PageError, match="not closed"):
        blocks_of(path)


@pytest.mark.parametrize(
    ("shown", "printed", "language", "fitting"),
    [
        ('{"id": "01980000-0000-7000-8000-000000000000"}', '{"id":"x"}', "json", False),
        ('{"a": 1, …}', '{"a":1,"b":[2,"… "]}', "json", True),
        ('{"a": "x y"}', '{"a":"xy"}', "json", False),
        ("at 2026-11-25T10:00:00Z", "at 2027-01-01T00:00:00.123Z", "text", True),
        ("HTTP/1.1 404 Not Found\n\n{}", "HTTP/1.1 404 Not Found\nDate: x\n\n{}", "http", True),
        ("HTTP/1.1 404 Not Found\nX-Y: 1\n\n{}", "HTTP/1.1 404 Not Found\n\n{}", "http", False),
    ],
)
def test_outputs_are_compared(shown: str, printed: str, language: str, *, fitting: bool) -> None:
    assert fits(shown, printed, language=language) is fitting


def test_figures_may_differ_where_the_page_says_so() -> None:
    assert fits("7 of 12", "31 of 1,040", language="text", differs=True)
    assert not fits("7 of 12", "seven of 12", language="text", differs=True)


def test_settings_of_a_page_are_read(tmp_path: Path) -> None:
    text = "CRM_PORT=8000\n"
    read_settings(
        Block(page=tmp_path, line=1, language="ini", text=text, reason=None, differs=False)
    )

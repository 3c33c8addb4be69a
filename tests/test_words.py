"""Words of an idiom that has to be read twice are kept out of the code and the documentation."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
IDIOM = re.compile(
    r"(?<!file\.)\b(?:told|tell|tells|telling|whoever|anew|nobody may|becomes of|became of)\b",
    re.IGNORECASE,
)
READ = (
    ("src", "**/*.py"),
    ("docs", "**/*.md"),
    (".", "*.md"),
)
EXEMPT = (
    "src/crm_api/domain/consent/reply_reader/",  # words of the people who write to us
    "docs/explanation/reply-reading.md",
)


def test_code_and_documentation_are_in_plain_english() -> None:
    assert list(lines_with_idiom()) == []


def test_idiom_is_found() -> None:
    assert IDIOM.search("Tell whoever asks")
    assert not IDIOM.search("Reported by the intelligent cellar's teller")


def lines_with_idiom() -> Iterator[str]:
    for folder, pattern in READ:
        for path in sorted((ROOT / folder).glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(EXEMPT):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if IDIOM.search(line):
                    yield f"{name}:{number}: {line.strip()}"

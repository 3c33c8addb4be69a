"""The code, the tests and the documentation do not use words of a list of unclear words."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
IDIOM = re.compile(
    r"(?<!file\.)\b(?:told|tell|tells|telling|whoever|anew|nobody may|becomes of|became of)\b"
    r"|\bdef \w*_(?:told|tell|tells|telling|whoever|anew|nobody_may|becomes_of|became_of)(?:_|\b)",
    re.IGNORECASE,
)
READ = (
    ("src", "**/*.py"),
    ("tests", "**/*.py"),
    ("tests", "**/*.md"),
    ("benchmarks", "**/*.py"),
    ("docs", "**/*.md"),
    ("migrations/objects", "*.sql"),
    (".", "*.md"),
    (".", "Makefile"),
    (".", ".ci/run"),
    (".", "Dockerfile"),
    (".", "compose.yaml"),
    (".github", "**/*.*"),
    ("deploy", "**/*.*"),
    ("clients", "*.yaml"),
    ("clients/typescript", "*.ts"),
    ("console/src", "**/*.ts*"),
)
EXEMPT = (
    # These files contain words of people who write to the company.
    "src/crm_api/domain/consent/reply_reader/",
    # These files contain such words, to train and to measure the reader of replies.
    "tests/opt_out/",
    "docs/explanation/reply-reading.md",
    "tests/test_words.py",
)
MESSAGES = ("Rossi told me of you",)
"""Messages of homeowners in the tests, which may contain unclear words."""


def test_code_and_documentation_are_in_plain_english() -> None:
    assert list(lines_with_idiom()) == []


def test_idiom_is_found() -> None:
    assert IDIOM.search("Tell whoever asks")
    assert IDIOM.search("def test_result_is_told() -> None:")
    assert not IDIOM.search("Reported by the intelligent cellar's teller")


def lines_with_idiom() -> Iterator[str]:
    for folder, pattern in READ:
        for path in sorted((ROOT / folder).glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(EXEMPT):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if IDIOM.search(line) and not any(message in line for message in MESSAGES):
                    yield f"{name}:{number}: {line.strip()}"

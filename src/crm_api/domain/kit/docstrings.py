"""Read descriptions for the API's documentation from docstrings."""

import inspect
import re

_CODE = re.compile(r"``([^`]+)``")
_SECTION = re.compile(r"\n\n(Attributes|Args|Returns|Raises):\n")
_ATTRIBUTE = re.compile(r"^ {4}(\w+): ")


def split_docstring(docstring: str | None) -> tuple[str, dict[str, str]]:
    """Split a docstring into its text and the descriptions of its attributes, both as Markdown.

    The text ends before the first section, such as ``Args`` or ``Attributes``. The descriptions are
    those in the section ``Attributes``, by the name of the attribute.
    """
    text, *sections = _SECTION.split(_CODE.sub(r"`\1`", inspect.cleandoc(docstring or "")))
    attributes: dict[str, str] = {}
    for title, section in zip(sections[::2], sections[1::2], strict=True):
        if title == "Attributes":
            attributes |= _attributes(section)
    return text.strip(), attributes


def first_paragraph(docstring: str | None) -> str:
    """Return the first paragraph of a docstring as Markdown, without line breaks."""
    return split_docstring(docstring)[0].split("\n\n", maxsplit=1)[0].replace("\n", " ")


def _attributes(section: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        begun = _ATTRIBUTE.match(line)
        if begun is not None:
            name = begun[1]
            found[name] = line[begun.end() :].strip()
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found

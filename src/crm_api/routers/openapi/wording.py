"""Docstrings as descriptions: Markdown, and each attribute beside its property."""

import re

from crm_api.routers.openapi.walking import Node, operations

_SAYS_NOTHING = "Successful Response"
_CODE = re.compile(r"``([^`]+)``")
_SECTION = re.compile(r"\n\n(Attributes|Args|Returns|Raises):\n", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^ {4}(\w+): ")


def word_descriptions(document: Node) -> None:
    """Move the attributes of each docstring to their properties; leave out what is for Python."""
    for schema in document["components"]["schemas"].values():
        text, attributes = _parted(schema.get("description", ""))
        if text:
            schema["description"] = text
        if "enum" in schema and attributes:
            lines = [f"- `{name.lower()}`: {said}" for name, said in attributes.items()]
            schema["description"] = "\n".join((text, "", *lines))
        for name, part in schema.get("properties", {}).items():
            if name in attributes:
                part.setdefault("description", attributes[name])
    for _, _, operation in operations(document):
        operation["description"] = _parted(operation["description"])[0]


def word_answers(document: Node) -> None:
    """Say of each answer what it is, where a route does not."""
    for _, _, operation in operations(document):
        for answer in operation["responses"].values():
            if answer["description"] == _SAYS_NOTHING:
                answer["description"] = _first_sentence(document, answer) or "Done."
        for parameter in operation.get("parameters", ()):
            parameter.get("schema", {}).pop("title", None)


def _first_sentence(document: Node, answer: Node) -> str:
    for content in answer.get("content", {}).values():
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        said: str = document["components"]["schemas"].get(name, {}).get("description", "")
        return said.split("\n\n", maxsplit=1)[0].replace("\n", " ")
    return ""


def markdown(docstring: str) -> str:
    """Return what a docstring says of the whole, on one line."""
    return _parted(docstring)[0].split("\n\n", maxsplit=1)[0].replace("\n    ", " ")


def _parted(docstring: str) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of the whole, and of each attribute."""
    text, *sections = _SECTION.split(_CODE.sub(r"`\1`", docstring))
    attributes: dict[str, str] = {}
    for title, section in zip(sections[::2], sections[1::2], strict=True):
        if title == "Attributes":
            attributes |= _attributes(section)
    return text.strip(), attributes


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

"""Helpers to walk through a JSON document."""

from collections.abc import Iterator
from typing import Any

Node = dict[str, Any]


def nodes(tree: Any) -> Iterator[Node]:  # noqa: ANN401 - JSON
    """Yield every object of the tree, each before those inside it."""
    if isinstance(tree, dict):
        yield tree
        for inner in tuple(tree.values()):
            yield from nodes(inner)
    elif isinstance(tree, list):
        for inner in tree:
            yield from nodes(inner)


def operations(document: Node) -> Iterator[tuple[str, str, Node]]:
    """Yield path, method and operation for every operation of an OpenAPI document."""
    for path, known in document["paths"].items():
        for method, operation in known.items():
            yield path, method, operation


def camel(name: str) -> str:
    """Write ``name_of_it`` as ``NameOfIt``."""
    return "".join(word[:1].upper() + word[1:] for word in name.replace("-", "_").split("_"))

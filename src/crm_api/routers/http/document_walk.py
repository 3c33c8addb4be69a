"""Helpers to walk through the OpenAPI document, which is plain JSON."""

from collections.abc import Iterator
from typing import Any

Node = dict[str, Any]


def nodes(tree: Any) -> Iterator[Node]:  # noqa: ANN401 - JSON
    """Yield every JSON object in the tree; an outer object comes before the objects inside it."""
    if isinstance(tree, dict):
        yield tree
        for inner in tuple(tree.values()):
            yield from nodes(inner)
    elif isinstance(tree, list):
        for inner in tree:
            yield from nodes(inner)


def operations(document: Node) -> Iterator[tuple[str, str, Node]]:
    """Yield path, method (in lower case) and operation, for each operation of the document."""
    for path, known in document["paths"].items():
        for method, operation in known.items():
            yield path, method, operation


def camel(name: str) -> str:
    """Convert a name from snake case or kebab case to camel case: ``api_key`` to ``ApiKey``."""
    return "".join(word[:1].upper() + word[1:] for word in name.replace("-", "_").split("_"))

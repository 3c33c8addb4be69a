"""Name every schema in the OpenAPI document, because client generators need a name for each type.

The schema of a model has the name of its class. This module names the objects, maps and
enumerations inside of models.
"""

from collections.abc import Iterator
from typing import Any

from crm_api.domain.kit.vocabulary import SET

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


PREFIX = "#/components/schemas/"
RENAMED = {"CandidateRead": "MergeCandidateRead"}
"""New names of models in the OpenAPI document, by the names of their classes."""

SHARED = {
    ("mon", "tue", "wed", "thu", "fri", "sat", "sun"): "Weekday",
    ("fill", "overwrite", "skip"): "OnDuplicate",
}
"""Names of enumerations that several models use. The key consists of the values of the
enumeration."""

JSON_OBJECT = "JsonObject"
PAGE = "PageRead_"
"""Prefix of the names that FastAPI gives to schemas of pages (parts of a list). In the OpenAPI
document, such a name is replaced by the title of the schema."""


def name_schemas(document: Node) -> None:
    """Move the schema of every object and enumeration to ``components/schemas``, under a name.

    The document is changed in place.
    """
    schemas: Node = document["components"]["schemas"]
    for _, _, operation in operations(document):
        for part, content in _contents(operation):
            schema = content.get("schema", {})
            given = schema.pop("title", " ")
            if not is_plain(schema):
                name = f"{camel(operation['operationId'])}{part}" if " " in given else given
                content["schema"] = _moved(schemas, schema, name)
    _rename(document)
    schemas = document["components"]["schemas"]
    for name in tuple(schemas):
        for part, schema in schemas[name].get("properties", {}).items():
            _name_inner(schemas, schema, f"{name.removesuffix('Read')}{camel(part)}")


def is_plain(schema: Node) -> bool:
    """Return True if a schema needs no new name.

    A reference, a string, null and an empty schema need no name. The same is true for a choice
    (``anyOf``) of such schemas.
    """
    if "$ref" in schema or schema.get("type") in {"string", "null"} or not schema:
        return True
    return "anyOf" in schema and all(is_plain(one) for one in schema["anyOf"])


def _contents(operation: Node) -> list[tuple[str, Node]]:
    found = [("Body", one) for one in operation.get("requestBody", {}).get("content", {}).values()]
    for answer in operation["responses"].values():
        found += [("Answer", one) for one in answer.get("content", {}).values()]
    return found


def _rename(document: Node) -> None:
    schemas: Node = document["components"]["schemas"]
    pages = {name: schema["title"] for name, schema in schemas.items() if PAGE in name}
    names = {old: new for old, new in (RENAMED | pages).items() if old in schemas}
    document["components"]["schemas"] = {
        names.get(name, name): schema for name, schema in schemas.items()
    }
    for node in nodes(document):
        if isinstance(node.get("$ref"), str):
            node["$ref"] = _renamed(node["$ref"], names)
        mapping = node.get("discriminator", {})
        if isinstance(mapping, dict) and "mapping" in mapping:
            mapping["mapping"] = {
                value: _renamed(target, names) for value, target in mapping["mapping"].items()
            }
    for name, schema in document["components"]["schemas"].items():
        schema["title"] = name


def _renamed(reference: str, names: dict[str, str]) -> str:
    name = reference.removeprefix(PREFIX)
    return PREFIX + names.get(name, name)


def _name_inner(schemas: Node, schema: Node, name: str) -> None:
    """Name the schema of a property, and the schemas of its items and alternatives."""
    schema.pop("title", None)
    if "enum" in schema:
        closed_set = schema.pop(SET, {"title": SHARED.get(tuple(schema["enum"]), name)})
        _move(schemas, schema, closed_set["title"], keys=("type", "enum"))
        schemas[closed_set["title"]] |= closed_set
    elif schema.get("type") == "object":
        keys = ("type", "additionalProperties", "properties", "required")
        is_free = schema.get("additionalProperties", True) is True and "properties" not in schema
        _move(schemas, schema, JSON_OBJECT if is_free else name, keys=keys)
    for inner in (*schema.get("anyOf", ()), schema.get("items")):
        if isinstance(inner, dict):
            _name_inner(schemas, inner, name)


def _move(schemas: Node, schema: Node, name: str, *, keys: tuple[str, ...]) -> None:
    """Move a part of a schema to ``schemas``, under a name, and put a reference in its place.

    The moved part consists of the keys in ``keys``. The other keys of the schema, such as the
    description and the default, stay beside the reference.
    """
    moved = {key: schema.pop(key) for key in keys if key in schema}
    if name == JSON_OBJECT:
        moved = {"description": "Any JSON object.", **moved, "additionalProperties": True}
    schema |= _moved(schemas, moved, name)


def _moved(schemas: Node, schema: Node, name: str) -> dict[str, Any]:
    known = schemas.setdefault(name, schema | {"title": name})
    if {**known, "title": name, "description": ""} != {**schema, "title": name, "description": ""}:
        message = (
            f"Two different schemas have the name {name}; give one of them another name in RENAMED "
            "or SHARED."
        )
        raise ValueError(message)
    return {"$ref": f"{PREFIX}{name}"}

"""Examples made from schemas and tables: of every body, every answer and every parameter."""

import re
from collections.abc import Iterator
from typing import Any

from crm_api.routers.openapi.examples.answers import AFTER, ANSWERS
from crm_api.routers.openapi.examples.ids import example_id
from crm_api.routers.openapi.examples.requests import REQUESTS
from crm_api.routers.openapi.examples.texts import TEXTS
from crm_api.routers.openapi.examples.values import BY_FORMAT, BY_NAME, OF_PARAMETER
from crm_api.routers.openapi.walking import Node, operations

NOTHING_KNOWN = "?"
"""What a field has as example for which no table has one; a test finds it."""
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NO_PART_OF_THE_THING = re.compile(r"(Read|Detail|Created)$")
_COLLECTION = re.compile(r"/([a-z-]+)s/\{")
_EMPTY: Node = {"boolean": False, "null": None, "object": {}}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def add_examples(document: Node) -> None:
    """Put an example beside every schema that a request or an answer names."""
    schemas: Node = document["components"]["schemas"]
    for path, _, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            content.setdefault("example", _request(schemas, content["schema"]))
        for answer in operation["responses"].values():
            for media_type, content in answer.get("content", {}).items():
                if "binary" in content["schema"].get("format", ""):
                    continue  # bytes of a picture say nothing to anybody
                text = TEXTS.get((operation["operationId"], media_type))
                composed = text or compose(schemas, content["schema"])
                after = AFTER.get(operation["operationId"], {})
                content.setdefault("example", _changed(composed, after))
        for parameter in operation.get("parameters", ()):
            if "$ref" not in parameter:
                parameter.setdefault("example", _parameter(schemas, path, parameter))


def _changed(composed: Any, after: Node) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(composed, dict):
        return composed
    return composed | {name: value for name, value in after.items() if name in composed}


def compose(schemas: Node, schema: Node, *, name: str = "", owner: str = "") -> Any:  # noqa: ANN401
    """Make an example that fits a schema.

    Args:
        schemas: By name.
        schema: What it is of.
        name: The field's; empty for what is no field.
        owner: The name of the schema that the field belongs to.
    """
    if "$ref" in schema and (known := schema["$ref"].rpartition("/")[2]) in schemas:
        return _named(schemas, known, name)
    if name in BY_NAME and _fits(schemas, BY_NAME[name], schema):
        return BY_NAME[name]
    for said in (schema.get("example"), *schema.get("examples", ()), schema.get("const")):
        if said is not None:
            return said
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema or "oneOf" in schema:
        return compose(schemas, next(_kinds(schema)), name=name, owner=owner)
    return _simple(schemas, schema, name, owner)


def _named(schemas: Node, known: str, field: str) -> Any:  # noqa: ANN401 - JSON
    schema = schemas[known]
    given = ANSWERS.get(known, {})
    if "properties" not in schema or not isinstance(given, dict):
        return given or compose(schemas, schema, name=field, owner=known)
    return {
        name: given[name] if name in given else compose(schemas, part, name=name, owner=known)
        for name, part in schema["properties"].items()
    }


def _simple(schemas: Node, schema: Node, name: str, owner: str) -> Any:  # noqa: ANN401 - JSON
    kind = schema.get("type")
    if schema.get("format") == "uuid":
        return example_id(_thing(name, owner))
    if schema.get("format") in BY_FORMAT:
        return BY_FORMAT[schema["format"]]
    if kind == "array":
        singular = name.removesuffix("s")
        return [compose(schemas, schema.get("items", {}), name=singular, owner=owner)]
    if kind in {"integer", "number"}:
        return schema.get("minimum", 0)
    return _EMPTY.get(str(kind), NOTHING_KNOWN)


def _fits(schemas: Node, value: Any, schema: Node) -> bool:  # noqa: ANN401 - JSON
    """Tell whether a value can be an example of a schema, as far as its kind goes."""
    if "$ref" in schema:
        return _fits(schemas, value, schemas[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return any(_fits(schemas, value, one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kind = "" if schema.get("format") == "uuid" else schema.get("type", "")  # ids follow from names
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, ()))


def _kinds(schema: Node) -> Iterator[Node]:
    """Yield what it may be, null last."""
    kinds: list[Node] = schema.get("anyOf") or schema["oneOf"]
    yield from sorted(kinds, key=lambda one: one.get("type") == "null")


def _thing(name: str, owner: str) -> str:
    """Return what a field named ``…_id`` is the id of; ``id`` is its owner's."""
    if name == "id":
        return _WORDS.sub("_", _NO_PART_OF_THE_THING.sub("", owner)).lower()
    return name.removesuffix("_id")


def _request(schemas: Node, schema: Node) -> Any:  # noqa: ANN401 - JSON
    kinds = [schema, *schema.get("anyOf", ())]
    named = next(one["$ref"].rpartition("/")[2] for one in kinds if "$ref" in one)
    return REQUESTS[named] if named in REQUESTS else compose(schemas, schema)


def _parameter(schemas: Node, path: str, parameter: Node) -> Any:  # noqa: ANN401 - JSON
    name = parameter["name"]
    schema = parameter["schema"]
    if parameter["in"] == "path" and schema.get("format") == "uuid":
        thing = name.removesuffix("_id")
        return example_id(_collected(path) if thing == "run" else thing)
    if name in OF_PARAMETER:
        value = OF_PARAMETER[name]
        return [value] if schema.get("type") == "array" else value
    return compose(schemas, schema, name=name)


def _collected(path: str) -> str:
    """Return what a path has a collection of: a run is one of validation or reconciliation."""
    found = _COLLECTION.search(path)
    return "run" if found is None else found[1].replace("-", "_")

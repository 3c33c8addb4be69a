"""Create an example for every request body, response body and parameter in the OpenAPI document.

All examples belong to one story: the same person or thing has the same id and phone number
everywhere. The name and type of a field decide its value, unless the model of the field has an
example.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from crm_api.domain.kit.contact_columns import CONTACT_COLUMNS
from crm_api.domain.kit.csv_export import csv_lines
from crm_api.domain.kit.csv_models import cells_of
from crm_api.domain.kit.examples import NOW, PASSWORD, example_id, read_example
from crm_api.routers.http.csv_responses import COLUMNS, JSON
from crm_api.routers.http.openapi.naming import Node, operations
from crm_api.routers.http.route_notes import SHOWN

_NULL = (
    "ab_test acknowledged_at acknowledged_by archived_at batch_interval_minutes batch_size "
    "blocked_reason continues_at decision disabled_at disabled_reason dry_run_id effective_from "
    "effective_until end_at erased_at error error_code expires_at failing_since failure file "
    "forwarded_from forwarded_to frequency_cap held_until if_lifted invitation_token last_error "
    "leg max_texts missed_from missed_until next_cursor note off_because paused_evidence "
    "paused_reason per_hours probe_at problem ramp_plan ramp_started_on reading recording "
    "replied_at resolved_at resolved_by retry_after_seconds revoked_at skip_reason stopped_at "
    "stopped_reason text_shown transcript undo undone_at undone_by voicemail "
)
"""Names of fields that are null in every example of the OpenAPI document."""

BY_NAME: dict[str, Any] = {
    **dict.fromkeys(_NULL.split()),
    **{column.name: column.example for column in CONTACT_COLUMNS},
    "actor": "olga@granite.example.com",
    "attempts": 1,
    "contact_count": 240,
    "created_at": "2026-11-24T16:20:00.000Z",
    "dry_run": False,
    "flags": [],
    "opted_out": False,
    "phone": "+16175550123",
    "provider_message_id": "ACf3b9c27d41e8452c9b6a7d0e5f183c64",
    "scopes": ["contacts:read", "contacts:write"],
    "updated_at": "2026-11-30T14:05:12.000Z",
    "variant": "Short",
}
"""Example values by the name of the field. A value is used only if its type fits the schema of the
field."""

BY_FORMAT: dict[str, Any] = {
    "date": "2026-11-30",
    "date-time": NOW,
    "email": "olga@granite.example.com",
    "uri": "https://crm.example.com",
    "password": PASSWORD,
    "binary": "phone,first_name\r\n+16175550123,Ada\r\n",
}
NOTHING_KNOWN = "?"
"""Example value of a field for which no rule gives a value. A test fails if the OpenAPI document
contains this value."""
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
    """Add an example to every request body, response body and parameter of the document."""
    schemas: Node = document["components"]["schemas"]
    for path, _, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            content.setdefault("example", _request(schemas, content["schema"]))
        shown = json.loads(operation.pop(SHOWN, "{}"))
        for answer in operation["responses"].values():
            contents = answer.get("content", {})
            for content in contents.values():
                if COLUMNS in content:
                    columns = content.pop(COLUMNS)
                    row = contents[JSON]["example"]["data"][0]
                    content["example"] = csv_lines([columns, cells_of(row, columns)]).decode()
                if "binary" in content["schema"].get("format", ""):
                    # An example of binary data, such as a picture, would not help readers.
                    continue
                composed = compose(schemas, content["schema"])
                if isinstance(composed, dict):
                    composed = _changed(composed, shown)
                content.setdefault("example", composed)
        for parameter in operation.get("parameters", ()):
            if "$ref" not in parameter:
                parameter.setdefault("example", _parameter(schemas, path, parameter))


def _changed(composed: Node, shown: Node) -> Node:
    """Return the example ``composed``, with the field values in ``shown`` instead of its own.

    A route passes the values in ``shown`` to ``route_notes.shows()``.

    Raises:
        ValueError: The example does not have all fields in ``shown``.
    """
    if not shown.keys() <= composed.keys():
        message = f"The response lacks at least one of these fields: {', '.join(shown)}"
        raise ValueError(message)
    return composed | shown


def compose(schemas: Node, schema: Node, *, name: str = "", owner: str = "") -> Any:  # noqa: ANN401
    """Return an example value for a schema.

    Args:
        schemas: All schemas of the document, by name.
        schema: The schema for which to make an example.
        name: Name of the field with this schema; empty if there is no field.
        owner: Name of the schema that contains the field.
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
    if "properties" not in schema:
        return compose(schemas, schema, name=field, owner=known)
    given = read_example(schema) or {}
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
        return schema.get("default", schema.get("minimum", 0))
    return _EMPTY.get(str(kind), NOTHING_KNOWN)


def _fits(schemas: Node, value: Any, schema: Node) -> bool:  # noqa: ANN401 - JSON
    """Return True if a value has the type of the schema; its format and limits are not checked."""
    if "$ref" in schema:
        return _fits(schemas, value, schemas[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return any(_fits(schemas, value, one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    # For an id, no value fits, because example ids are made from the name of the field instead.
    kind = "" if schema.get("format") == "uuid" else schema.get("type", "")
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, ()))


def _kinds(schema: Node) -> Iterator[Node]:
    """Yield the alternatives of ``anyOf`` or ``oneOf``; the type ``null`` comes last."""
    kinds: list[Node] = schema.get("anyOf") or schema["oneOf"]
    yield from sorted(kinds, key=lambda one: one.get("type") == "null")


def _thing(name: str, owner: str) -> str:
    """Return what an id field identifies, in snake case.

    For ``contact_id``, the result is ``contact``. For ``id``, the result comes from ``owner``, the
    name of the schema that contains the field.
    """
    if name == "id":
        return _WORDS.sub("_", _NO_PART_OF_THE_THING.sub("", owner)).lower()
    return name.removesuffix("_id")


def _request(schemas: Node, schema: Node) -> Any:  # noqa: ANN401 - JSON
    kinds = [schema, *schema.get("anyOf", ())]
    named = next(one["$ref"].rpartition("/")[2] for one in kinds if "$ref" in one)
    given = read_example(schemas[named])
    return compose(schemas, schema) if given is None else given


def _parameter(schemas: Node, path: str, parameter: Node) -> Any:  # noqa: ANN401 - JSON
    name = parameter["name"]
    schema = parameter["schema"]
    if parameter["in"] == "path" and schema.get("format") == "uuid":
        thing = name.removesuffix("_id")
        return example_id(_collected(path) if thing == "run" else thing)
    given = schema.pop("examples", ())
    return given[0] if given else compose(schemas, schema, name=name)


def _collected(path: str) -> str:
    """Return the name of the collection in a path, such as ``phone_validation``.

    Several collections have a path parameter ``run_id``. With the name of the collection, the
    example of ``run_id`` differs for each collection.
    """
    found = _COLLECTION.search(path)
    return "run" if found is None else found[1].replace("-", "_")

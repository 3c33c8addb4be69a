"""Prove that each kind of change that breaks a client is found, and no other change."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.clients.breaking import Break, breaks, explained_breaks
from tests.clients.conftest import write_json

Operation = dict[str, Any]

TEXT = {"type": "string"}
OPERATION: Operation = {
    "parameters": [
        {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 200}},
        {"name": "state", "in": "query", "schema": {"type": "string", "enum": ["on", "off"]}},
    ],
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["phone"],
                    "properties": {
                        "phone": {"type": "string"},
                        "name": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                        "kind": {"type": "string", "enum": ["a", "b"]},
                        "tags": {"type": "array", "items": {"type": "string"}},
                    },
                }
            }
        }
    },
    "responses": {
        "201": {
            "description": "Made.",
            "headers": {"ETag": {"schema": {"type": "string"}}},
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["id", "count", "status"],
                        "properties": {
                            "id": {"type": "string", "format": "uuid"},
                            "count": {"type": "integer"},
                            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                            "status": {"type": "string", "enum": ["draft", "done"]},
                            "parts": {"type": "array", "items": {"type": "string"}},
                        },
                    }
                },
                "text/csv": {"schema": {"type": "string"}},
            },
        },
        "409": {"description": "Refused."},
    },
    "security": [{"bearer": ["contacts:read"]}],
}


def asked(operation: Operation) -> dict[str, Any]:
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def answered(operation: Operation) -> dict[str, Any]:
    content = operation["responses"]["201"]["content"]
    schema: dict[str, Any] = content["application/json"]["schema"]
    return schema


BREAKING: dict[str, tuple[str, Callable[[Operation], Any]]] = {
    "another operationId": (
        "operation-id-changed",
        lambda one: one.update(operationId="other"),
    ),
    "parameter removed": ("parameter-removed", lambda one: one["parameters"].pop(0)),
    "parameter now required": (
        "parameter-became-required",
        lambda one: one["parameters"][0].update(required=True),
    ),
    "new required parameter": (
        "parameter-became-required",
        lambda one: one["parameters"].append(
            {"name": "new", "in": "query", "required": True, "schema": TEXT}
        ),
    ),
    "parameter of another type": (
        "schema-type-changed",
        lambda one: one["parameters"][0]["schema"].update(type="string"),
    ),
    "parameter with a lower maximum": (
        "schema-constraint-changed",
        lambda one: one["parameters"][0]["schema"].update(maximum=100),
    ),
    "parameter takes fewer values": (
        "enum-values-removed",
        lambda one: one["parameters"][1]["schema"].update(enum=["on"]),
    ),
    "body now required": (
        "request-body-became-required",
        lambda one: one["requestBody"].update(required=True),
    ),
    "field of the body removed": (
        "property-removed",
        lambda one: asked(one)["properties"].pop("name"),
    ),
    "field of the body now required": (
        "required-properties-added",
        lambda one: asked(one)["required"].append("name"),
    ),
    "new required field of the body": (
        "required-properties-added",
        lambda one: (asked(one)["required"].append("x"), asked(one)["properties"].update(x=TEXT)),
    ),
    "field of the body takes no null": (
        "schema-type-changed",
        lambda one: asked(one)["properties"].update(name=TEXT),
    ),
    "field of the body of another type": (
        "schema-type-changed",
        lambda one: asked(one)["properties"].update(phone={"type": "integer"}),
    ),
    "field of the body takes fewer values": (
        "enum-values-removed",
        lambda one: asked(one)["properties"]["kind"].update(enum=["a"]),
    ),
    "field of the body takes shorter texts": (
        "schema-constraint-changed",
        lambda one: asked(one)["properties"]["phone"].update(maxLength=3),
    ),
    "items of the body of another type": (
        "schema-type-changed",
        lambda one: asked(one)["properties"]["tags"].update(items={"type": "integer"}),
    ),
    "body in another media type": (
        "media-type-removed",
        lambda one: one["requestBody"].update(
            content={"text/plain": one["requestBody"]["content"].pop("application/json")}
        ),
    ),
    "success with another status": (
        "response-removed",
        lambda one: one["responses"].update({"200": one["responses"].pop("201")}),
    ),
    "failure removed": ("response-removed", lambda one: one["responses"].pop("409")),
    "header of the answer removed": (
        "response-header-removed",
        lambda one: one["responses"]["201"].pop("headers"),
    ),
    "media type of the answer removed": (
        "media-type-removed",
        lambda one: one["responses"]["201"]["content"].pop("text/csv"),
    ),
    "field of the answer removed": (
        "property-removed",
        lambda one: answered(one)["properties"].pop("note"),
    ),
    "field of the answer no longer certain": (
        "required-properties-removed",
        lambda one: answered(one)["required"].remove("id"),
    ),
    "field of the answer may be null": (
        "schema-type-changed",
        lambda one: answered(one)["properties"].update(
            count={"anyOf": [{"type": "integer"}, {"type": "null"}]}
        ),
    ),
    "field of the answer of another type": (
        "schema-type-changed",
        lambda one: answered(one)["properties"]["count"].update(type="string"),
    ),
    "field that may be null of another type": (
        "schema-type-changed",
        lambda one: answered(one)["properties"]["note"]["anyOf"][0].update(type="integer"),
    ),
    "field of the answer in another format": (
        "schema-constraint-changed",
        lambda one: answered(one)["properties"]["id"].update(format="date"),
    ),
    "items of the answer of another type": (
        "schema-type-changed",
        lambda one: answered(one)["properties"]["parts"].update(items={"type": "integer"}),
    ),
    "another scope": (
        "security-requirement-changed",
        lambda one: one["security"][0].update(bearer=["admin"]),
    ),
}
"""Each kind of breaking change, with the rule that must find it."""

HARMLESS: dict[str, Callable[[Operation], Any]] = {
    "new optional parameter": lambda one: one["parameters"].append(
        {"name": "new", "in": "query", "schema": TEXT}
    ),
    "new optional field of the body": lambda one: asked(one)["properties"].update(x=TEXT),
    "field of the body no longer required": lambda one: asked(one).pop("required"),
    "body takes more values": lambda one: asked(one)["properties"]["kind"]["enum"].append("c"),
    "parameter with a higher maximum": lambda one: one["parameters"][0]["schema"].update(
        maximum=500
    ),
    "new field of the answer": lambda one: answered(one)["properties"].update(x=TEXT),
    "field of the answer now certain": lambda one: answered(one)["required"].append("note"),
    "answer with a new value": lambda one: answered(one)["properties"]["status"]["enum"].append(
        "paused"
    ),
    "new failure": lambda one: one["responses"].update({"404": {"description": "Not there."}}),
    "other words": lambda one: one.update(description="Says it better."),
}

CASES = [*BREAKING, *HARMLESS]


def document_of(operations: dict[str, Operation]) -> dict[str, Any]:
    """Return a document that has one path for each case."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cases", "version": "1"},
        "paths": {
            f"/{CASES.index(name)}": {"post": {"operationId": f"case_{CASES.index(name)}", **one}}
            for name, one in operations.items()
        },
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, _node: None) -> list[Break]:
    """Compare all cases at once, because each start of Node takes half a second."""
    before = {name: copy.deepcopy(OPERATION) for name in CASES}
    after = copy.deepcopy(before)
    for name, operation in after.items():
        change = HARMLESS[name] if name in HARMLESS else BREAKING[name][1]
        change(operation)
    folder = tmp_path_factory.mktemp("cases")
    base = write_json(folder / "base.json", document_of(before))
    return breaks(base, write_json(folder / "revision.json", document_of(after)))


def rules_at(found: list[Break], case: str) -> set[str]:
    place = f"#/paths/~1{CASES.index(case)}/"
    return {rule for rule, where, _ in found if where.startswith(place)}


@pytest.mark.parametrize("case", BREAKING)
def test_a_change_that_breaks_is_found(case: str, found: list[Break]) -> None:
    assert BREAKING[case][0] in rules_at(found, case)


@pytest.mark.parametrize("case", HARMLESS)
def test_a_change_that_breaks_no_client_passes(case: str, found: list[Break]) -> None:
    assert rules_at(found, case) == set()


@pytest.mark.usefixtures("_node")
def test_removed_paths_and_names_and_new_requirements_are_found(tmp_path: Path) -> None:
    base = document_of({"other words": copy.deepcopy(OPERATION)})
    base["paths"]["/gone"] = {"get": {"operationId": "gone", "responses": {}}}
    base["paths"]["/open"] = {"post": {"operationId": "open", "responses": {}, "security": []}}
    base["components"]["schemas"] = {"Contact": TEXT}
    now = copy.deepcopy(base)
    del now["paths"]["/gone"], now["components"]["schemas"]["Contact"]
    now["paths"]["/open"]["post"] |= {
        "security": [{"bearer": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": TEXT}}},
    }

    found = breaks(write_json(tmp_path / "base.json", base), write_json(tmp_path / "now.json", now))

    assert [(rule, place) for rule, place, _ in found] == [
        ("path-removed", "#/paths/~1gone"),
        ("security-requirement-changed", "#/paths/~1open/post/security/0"),
        ("body-demanded", "#/paths/~1open/post"),
        ("schema-removed", "#/components/schemas/Contact"),
    ]


def test_break_is_intended_if_the_page_gives_a_reason() -> None:
    page = """
| rule | where | why |
| --- | --- | --- |
| `property-removed` | `#/components/schemas/Contact/properties/fax` | Nobody has one. |
| `property-removed` | `#/components/schemas/Contact/properties/telex` |  |
"""

    assert explained_breaks(page) == {
        ("property-removed", "#/components/schemas/Contact/properties/fax")
    }

"""Every example of the OpenAPI document fits its schema, and no example is missing."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from tests.conforming import validator

from crm_api.app import ROUTERS
from crm_api.domain.campaigns.recipients import export
from crm_api.domain.imports.files.runs import ERROR_COLUMNS
from crm_api.domain.kit.examples import read_example
from crm_api.domain.messaging.consent_decisions.proof import CSV_COLUMNS
from crm_api.domain.messaging.conversations import export as message_export
from crm_api.domain.people.contacts import export as contacts_export
from crm_api.domain.sales.outcomes import export as outcome_export
from crm_api.routers.http.openapi.examples import NOTHING_KNOWN
from crm_api.routers.http.openapi.naming import operations

RULE_COLUMNS = (
    *("version", "model", "windows.replied", "windows.called", "windows.delivered"),
    *("created_by", "created_at"),
)
BYTES = {"*/*"}
"""Media types of pictures and recordings, which have no example."""


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def described(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each part of the document that needs an example, with its name.

    These parts are bodies, responses, parameters and headers.
    """
    for _, _, operation in operations(document):
        name = operation["operationId"]
        bodies = operation.get("requestBody", {}).get("content", {})
        yield from ((f"{name}: {kind} sent", content) for kind, content in bodies.items())
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                if kind not in BYTES:
                    yield f"{name}: {status} {kind}", content
        for parameter in operation.get("parameters", ()):
            if "$ref" not in parameter:
                yield f"{name}: {parameter['name']}", parameter
    shared = document["components"]
    yield from shared["parameters"].items()
    yield from shared["headers"].items()
    for name, answer in shared["responses"].items():
        yield from ((f"{name}: {kind}", content) for kind, content in answer["content"].items())


def examples(document: dict[str, Any], content: dict[str, Any]) -> list[Any]:
    if "example" in content:
        return [content["example"]]
    given = content.get("examples", {})
    return [_found(document, one)["value"] for one in given.values()]


def _found(document: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in example:
        return example
    found: dict[str, Any] = document["components"]["examples"][example["$ref"].split("/")[-1]]
    return found


def test_no_example_is_missing(document: dict[str, Any]) -> None:
    missing = [name for name, content in described(document) if not examples(document, content)]

    assert missing == []


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    faults = [
        f"{name}: {fault.instance_path} {fault.message}"
        for name, content in described(document)
        for example in examples(document, content)
        for fault in validator(json.dumps(content["schema"]), formats=True).iter_errors(example)
    ]

    assert faults == []


def test_every_field_of_an_example_has_a_value(document: dict[str, Any]) -> None:
    """Fail if an example has a field without a value.

    Add the value to the ``example`` of the field's model, or to ``BY_NAME``.
    """
    meaningless = [
        name
        for name, content in described(document)
        for example in examples(document, content)
        if NOTHING_KNOWN in _leaves(example)
    ]

    assert meaningless == []


def _leaves(example: Any) -> list[Any]:
    if isinstance(example, dict):
        return [leaf for value in example.values() for leaf in _leaves(value)]
    if isinstance(example, list):
        return [leaf for value in example for leaf in _leaves(value)]
    return [example]


def test_every_example_of_a_body_is_accepted(document: dict[str, Any]) -> None:
    """Prove that the example of each body also passes the checks that only pydantic makes."""
    tried = 0
    for module in ROUTERS:
        for route in module.router.routes:
            if isinstance(route, APIRoute) and route.body_field is not None:
                method = next(iter(route.methods or ())).lower()
                body = document["paths"][route.path_format][method]["requestBody"]["content"]
                if "application/json" in body:
                    kind: Any = route.body_field.field_info.annotation
                    TypeAdapter(kind).validate_python(body["application/json"]["example"])
                    tried += 1

    assert tried > 50


def test_examples_of_models_name_only_existing_fields() -> None:
    checked = 0
    for model in _models(BaseModel):
        example = read_example(model.model_config.get("json_schema_extra"))
        if example is not None:
            fields = model.model_json_schema(mode="serialization")["properties"]
            assert set(example) <= set(fields), model
            checked += 1

    assert checked > 150


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def test_campaign_has_the_same_id_in_every_example(document: dict[str, Any]) -> None:
    paths = document["paths"]
    made = paths["/v1/campaigns"]["post"]["responses"]["201"]["content"]["application/json"]
    started = paths["/v1/campaigns/{campaign_id}/start"]["post"]["parameters"][0]

    assert started["example"] == made["example"]["id"]


def test_rows_of_csv_examples_have_a_cell_for_each_column(document: dict[str, Any]) -> None:
    tables = {
        name: list(csv.reader(io.StringIO(content["example"])))
        for name, content in described(document)
        if name.endswith("text/csv")
    }

    assert len(tables) > 20
    assert all(len(header) == len(row) for header, row in tables.values())


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        ("/v1/contacts", contacts_export.HEADER),
        ("/v1/campaigns/{campaign_id}/recipients", export.HEADER),
        ("/v1/conversations/{conversation_id}/messages", message_export.HEADER),
        ("/v1/imports/{import_id}/errors", ERROR_COLUMNS),
        ("/v1/do-not-contact-uploads/{upload_id}/errors", ERROR_COLUMNS),
        ("/v1/consent-proof", CSV_COLUMNS),
        ("/v1/outcomes", outcome_export.HEADER),
        ("/v1/attribution-rules", RULE_COLUMNS),
    ],
)
def test_csv_examples_have_the_columns_of_the_files(
    document: dict[str, Any], path: str, columns: tuple[str, ...]
) -> None:
    answer = document["paths"][path]["get"]["responses"]["200"]

    header = answer["content"]["text/csv"]["example"].splitlines()[0].split(",")

    named = [name for name in header if not name.startswith("attributes.")]
    assert named == list(columns)

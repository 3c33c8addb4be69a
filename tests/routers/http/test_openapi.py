"""The OpenAPI document is complete: names, tags, problems and security of every operation."""

import re
from typing import Any

import pytest
from fastapi import FastAPI

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.routers.http.openapi.descriptions import SHARED
from crm_api.routers.http.openapi.document import TAGS
from crm_api.routers.http.openapi.headers import complete_headers, used_headers
from crm_api.routers.http.openapi.naming import nodes


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, known in document["paths"].items()
        for method, operation in known.items()
    ]


def test_every_operation_has_a_unique_name(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]

    assert len(names) == len(set(names))
    assert all(name.isidentifier() and name.islower() for name in names)


def test_paths_are_in_kebab_case(document: dict[str, Any]) -> None:
    for path in document["paths"]:
        assert re.fullmatch(r"(/([a-z0-9-]+|\{[a-z_]+\}))+(\.ics)?", path), path


def test_every_tag_is_explained_and_used(document: dict[str, Any]) -> None:
    used = {tag for _, operation in operations(document) for tag in operation["tags"]}

    assert used <= set(TAGS)
    assert [tag["name"] for tag in document["tags"]] == list(TAGS)


def test_every_operation_has_a_description(document: dict[str, Any]) -> None:
    assert [name for name, operation in operations(document) if not operation["description"]] == []


def test_every_error_response_is_a_problem(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400" and name != "GET /readyz":
                assert "$ref" in answer, f"{name} {status}"
    for answer in document["components"]["responses"].values():
        for content in answer.get("content", {}).values():
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_every_reference_has_a_target(document: dict[str, Any]) -> None:
    for node in nodes(document):
        if isinstance(node.get("$ref"), str):
            assert resolved(document, node)


def test_every_schema_has_a_clean_name(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]+", name)
        assert not name.endswith(("Input", "Output", "Answer"))
        assert schema["title"] == name


def test_no_object_and_no_enumeration_is_anonymous(document: dict[str, Any]) -> None:
    """Prove that each object and enumeration has a name in the document.

    Generated clients would name an anonymous schema by its position in the document.
    """
    schemas = document["components"]["schemas"]
    anonymous = [
        (name, inner)
        for name, schema in [*schemas.items(), *document["paths"].items()]
        for inner in nodes(schema)
        if inner is not schema and (inner.get("type") == "object" or "enum" in inner)
    ]

    assert anonymous == []


def test_links_fit_the_parameters_of_their_operations(document: dict[str, Any]) -> None:
    known = {operation["operationId"]: operation for _, operation in operations(document)}
    links = [
        (answer, link)
        for operation in known.values()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]

    for answer, link in links:
        taken = {one["name"] for one in parameters(document, known[link["operationId"]])}
        assert set(link["parameters"]) <= taken
        body = answer["content"]["application/json"]["schema"]
        for expression in link["parameters"].values():
            source, _, pointer = expression.partition("#/")
            if source == "$response.body":
                assert has_member(document, body, pointer.split("/")), expression
    made = document["paths"]["/v1/campaigns"]["post"]["responses"]["201"]["links"]
    assert {"ReadCampaign", "StartCampaign", "ListRecipients"} <= set(made)


def has_member(document: dict[str, Any], schema: dict[str, Any], path: list[str]) -> bool:
    for part in path:
        schema = resolved(document, schema)
        schema = schema["items"] if part == "0" else schema["properties"].get(part, {})
    return bool(schema)


def test_every_response_has_a_description_and_headers(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            answer = resolved(document, answer)  # noqa: PLW2901 - the target of the same reference
            assert answer["description"] not in {"", "Successful Response"}, f"{name} {status}"
            assert "X-Request-ID" in answer["headers"], f"{name} {status}"


def test_headers_of_a_contact(document: dict[str, Any]) -> None:
    one = document["paths"]["/v1/contacts/{contact_id}"]
    made = document["paths"]["/v1/contacts"]["post"]["responses"]["201"]

    assert {"ETag", "RateLimit", "RateLimit-Policy"} <= set(
        one["get"]["responses"]["200"]["headers"]
    )
    assert "ETag" in one["patch"]["responses"]["200"]["headers"]
    assert "Idempotent-Replayed" in made["headers"]
    sent = {one["name"] for one in parameters(document, one["delete"])}
    assert sent == {"contact_id", "If-Match"}
    limited = document["components"]["responses"]["TooManyRequests"]
    assert "Retry-After" in limited["headers"]


def test_headers_of_a_deprecated_operation(document: dict[str, Any]) -> None:
    operation: dict[str, Any] = {"deprecated": True, "responses": {"204": {"description": "Done."}}}

    complete_headers("/v1/old", "delete", operation, is_read=False)

    headers = operation["responses"]["204"]["headers"]
    assert {"Deprecation", "Sunset", "Link"} <= set(headers)
    assert set(used_headers(operation)) >= {"Deprecation", "Sunset", "Link"}
    # The API itself has no deprecated operation yet.
    assert "Sunset" not in document["components"]["headers"]


def test_every_operation_has_its_security(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    for name, operation in operations(document):
        for way in operation["security"]:
            assert set(way) <= set(schemes), name
    flows = schemes["oauth2"]["flows"].values()
    assert [set(flow["scopes"]) for flow in flows] == [set(Scope)]
    start = document["paths"]["/v1/campaigns/{campaign_id}/start"]["post"]
    assert start["security"] == [{"bearer": ["campaigns:send"]}, {"oauth2": ["campaigns:send"]}]
    assert document["paths"]["/v1/auth/refresh"]["post"]["security"][0] == {"refreshCookie": []}


def parameters(document: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [resolved(document, one) for one in operation.get("parameters", ())]


def resolved(document: dict[str, Any], node: dict[str, Any]) -> Any:
    """Return the node to which a reference refers; return any other node unchanged."""
    found: Any = node
    if "$ref" in node:
        found = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_a_patch_body_has_no_defaults(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    changes = [
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for name, operation in operations(document)
        if name.startswith("PATCH")
    ]

    fields = [
        field
        for reference in changes
        for field in schemas[reference.rpartition("/")[2]]["properties"].values()
    ]
    assert fields
    assert [field for field in fields if "default" in field] == []


def test_names_of_responses_do_not_depend_on_the_python_version(document: dict[str, Any]) -> None:
    names = document["components"]["responses"]

    assert any(name.startswith("ContentTooLarge") for name in names)
    assert any(name.startswith("UnprocessableContent") for name in names)
    assert not any(name.startswith(("RequestEntity", "UnprocessableEntity")) for name in names)


def test_every_property_has_a_description(document: dict[str, Any]) -> None:
    """Fail if a field has no description; write it in the docstring of the field's model."""
    undescribed = [
        f"{name}.{key}"
        for name, schema in document["components"]["schemas"].items()
        for key, part in schema.get("properties", {}).items()
        if not part.get("description")
    ]

    assert undescribed == []


def test_every_shared_description_is_used(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    names = {key for schema in schemas.values() for key in schema.get("properties", {})}
    unused = [key for key in SHARED if key not in names]

    assert unused == []


def enumeration_values(schema: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    """Return the values of an enumeration; an empty list if the schema is not an enumeration."""
    if "$ref" in schema:
        return enumeration_values(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    parts = [*schema.get("anyOf", ()), *schema.get("allOf", ())]
    return [
        *schema.get("enum", ()),
        *(word for part in parts for word in enumeration_values(part, schemas)),
    ]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("MessageRead.status", "undelivered"),
        ("LineRead.status", "blocked"),
        ("ImportRead.status", "completed"),
        ("ReconciliationRead.status", "completed"),
        ("RecipientRead.skip_reason", "opted_out"),
        ("ExplanationRead.rule", "outside_legal_hours"),
        ("ForecastRead.binding_rule", "min_days_between"),
    ],
)
def test_field_with_fixed_values_is_an_enumeration(
    document: dict[str, Any], name: str, word: str
) -> None:
    schemas = document["components"]["schemas"]
    schema, field = name.split(".")

    assert word in enumeration_values(schemas[schema]["properties"][field], schemas)

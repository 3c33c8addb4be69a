"""The OpenAPI document is complete: names, tags, problems and who may, for every operation."""

from typing import Any

import pytest
from fastapi import FastAPI

from crm_api.routers.openapi import TAGS


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, known in document["paths"].items()
        for method, operation in known.items()
    ]


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]

    assert len(names) == len(set(names))
    assert all(name.isidentifier() and name.islower() for name in names)


def test_every_tag_is_explained_and_used(document: dict[str, Any]) -> None:
    used = {tag for _, operation in operations(document) for tag in operation["tags"]}

    assert used <= set(TAGS)
    assert [tag["name"] for tag in document["tags"]] == list(TAGS)


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    assert [name for name, operation in operations(document) if not operation["description"]] == []


def test_every_failure_is_a_problem(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert "$ref" in answer, f"{name} {status}"
    for answer in document["components"]["responses"].values():
        for content in answer.get("content", {}).values():
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [one for value in node.values() for one in references(value)]
        if isinstance(node, list):
            return [one for value in node for one in references(value)]
        return []

    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part.replace("~1", "/").replace("~0", "~")]
        assert node


def test_no_body_is_an_anonymous_object(document: dict[str, Any]) -> None:
    """A generator would name it after the operation."""
    for name, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert content["schema"].get("type") != "object", name

"""The OpenAPI document describes the events that are sent to webhook endpoints."""

from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema_rs import Draft202012Validator

from crm_api.domain.outbound.live_events.payloads import PAYLOADS
from crm_api.routers.http.openapi.examples import NOTHING_KNOWN


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def test_every_event_type_is_described(document: dict[str, Any]) -> None:
    assert list(document["webhooks"]) == list(PAYLOADS)
    for kind, known in document["webhooks"].items():
        body = known["post"]["requestBody"]["content"]["application/json"]
        assert body["schema"]["$ref"].endswith("Event"), kind
        assert known["post"]["operationId"].isidentifier()
        assert set(known["post"]["responses"]) == {"2XX", "default"}


def test_every_example_is_a_valid_event(document: dict[str, Any]) -> None:
    root = {"$id": "urn:document", "components": document["components"]}
    for kind, known in document["webhooks"].items():
        body = known["post"]["requestBody"]["content"]["application/json"]
        example = body["example"]

        assert example["type"] == kind
        assert NOTHING_KNOWN not in example["data"].values(), kind
        Draft202012Validator({**root, **body["schema"]}).validate(example)
        sent = PAYLOADS[kind].model_validate(example).model_dump(mode="json")
        assert sent == example


def test_missing_values_are_sent_as_null(document: dict[str, Any]) -> None:
    shape = document["components"]["schemas"]["MessageFacts"]

    assert set(shape["required"]) == set(shape["properties"])


def test_the_signature_is_described(document: dict[str, Any]) -> None:
    known = document["components"]["parameters"]
    names = {
        known[one["$ref"].rpartition("/")[2]]["name"]
        for one in document["webhooks"]["opt_out"]["post"]["parameters"]
    }

    assert names == {"webhook-id", "webhook-timestamp", "webhook-signature"}

"""Describe the webhooks that this service sends, in the OpenAPI document.

There is one webhook operation for each event type.
"""

from pydantic.json_schema import models_json_schema

from crm_api.domain.kit.docstrings import first_paragraph
from crm_api.domain.kit.examples import example_id
from crm_api.domain.outbound.live_events.payloads import PAYLOADS, TEST_TYPE
from crm_api.routers.http.document_walk import Node
from crm_api.routers.http.openapi.examples import compose
from crm_api.routers.http.openapi.headers import header_parameter
from crm_api.routers.http.openapi.naming import PREFIX

TAG = "webhook endpoints"
PARAMETERS: Node = {
    "WebhookId": header_parameter(
        "webhook-id",
        "The id of this delivery. It is the same in every attempt, so you can use it to ignore a "
        "delivery that you have received before.",
        example_id("webhook_delivery"),
        required=True,
    ),
    "WebhookTimestamp": header_parameter(
        "webhook-timestamp",
        "When this attempt was signed, as Unix time in seconds. Refuse the request if this time "
        "differs from your clock by more than five minutes.",
        "1796047512",
        required=True,
        pattern="^[0-9]+$",
    ),
    "WebhookSignature": header_parameter(
        "webhook-signature",
        "The signature as defined by [Standard Webhooks](https://www.standardwebhooks.com): `v1,` "
        "and the base64 of an HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`. After you "
        "rotate the secret, the header has two signatures with a space between them, until the "
        "old secret expires.",
        "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        required=True,
    ),
}
ANSWERS: Node = {
    "2XX": {"description": "The endpoint has accepted the event; it is not sent again."},
    "default": {
        "description": "410 disables the endpoint immediately. 429 or 503 with `Retry-After` "
        "pauses all deliveries to the endpoint until that time, for at most a day. After any other "
        "response, or if no response arrives in time, the event is sent again later. There are at "
        "most ten attempts within about four days. An endpoint that accepts no event for several "
        "days is disabled.",
    },
}
_ASKED = "Sent to each endpoint that subscribes to this event type and has the required scope."
_TEST = "Sent only on request: `POST /v1/webhook-endpoints/{endpoint_id}/test`."


def add_shapes(document: Node) -> None:
    """Add the schemas of the events that webhooks send. Call this before ``name_schemas``."""
    models = [(model, "serialization") for model in PAYLOADS.values()]
    _, found = models_json_schema(models, ref_template=f"{PREFIX}{{model}}")  # type: ignore[arg-type]  # a list of pairs is taken
    for schema in found["$defs"].values():
        if "properties" in schema:
            schema["required"] = list(schema["properties"])  # a field without a value is null
    document["components"]["schemas"] |= found["$defs"]


def add_webhooks(document: Node) -> None:
    """Add one webhook operation for each event type: the request that an endpoint receives."""
    document["components"]["parameters"] |= PARAMETERS
    document["webhooks"] = {
        kind: {"post": _operation(document, kind)} for kind in map(str, PAYLOADS)
    }


def _operation(document: Node, kind: str) -> Node:
    model = PAYLOADS[kind]
    schema = {"$ref": f"{PREFIX}{model.__name__}"}
    words = kind.replace(".", "_")
    example = compose(document["components"]["schemas"], schema)
    to_whom = _ASKED if kind != TEST_TYPE else _TEST
    return {
        "operationId": f"receive_{words}",
        "summary": words.replace("_", " ").capitalize(),
        "description": f"{first_paragraph(model.__doc__)} {to_whom}",
        "tags": [TAG],
        "parameters": [{"$ref": f"#/components/parameters/{one}"} for one in PARAMETERS],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        },
        "responses": ANSWERS,
        "security": [],
    }

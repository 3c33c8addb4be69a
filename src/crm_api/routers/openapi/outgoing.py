"""The ``webhooks`` of the document: what goes out to endpoints, by type."""

from pydantic.json_schema import models_json_schema

from crm_api.domain.events.payloads import PAYLOADS, TEST_TYPE
from crm_api.routers.openapi.examples.composing import compose
from crm_api.routers.openapi.examples.ids import example_id
from crm_api.routers.openapi.naming import PREFIX, RENAMED
from crm_api.routers.openapi.walking import Node
from crm_api.routers.openapi.wording import markdown

TAG = "webhook endpoints"
PARAMETERS: Node = {
    "WebhookId": {
        "name": "webhook-id",
        "in": "header",
        "required": True,
        "description": "Of this message, the same at each try: by it one that came twice is told.",
        "schema": {"type": "string"},
        "example": example_id("webhook_delivery"),
    },
    "WebhookTimestamp": {
        "name": "webhook-timestamp",
        "in": "header",
        "required": True,
        "description": "When this try was signed, in seconds since 1970. Refuse what is more than "
        "five minutes off.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
        "example": "1796047512",
    },
    "WebhookSignature": {
        "name": "webhook-signature",
        "in": "header",
        "required": True,
        "description": "As [Standard Webhooks](https://www.standardwebhooks.com) says: `v1,` and "
        "an HMAC-SHA256 in base64 of `{webhook-id}.{webhook-timestamp}.{body}`. Two, with a space "
        "between, while an old secret signs beside a new one.",
        "schema": {"type": "string"},
        "example": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    },
}
ANSWERS: Node = {
    "2XX": {"description": "Taken."},
    "default": {
        "description": "410 disables the endpoint at once. 429 or 503 with `Retry-After` holds all "
        "messages to it until then, a day at most. After any other answer, or none in time, the "
        "message is sent again, ten times in days; an endpoint that takes nothing for days is "
        "disabled.",
    },
}
_ASKED = "Sent to each endpoint that asks for it and whose scopes may see it."
_TEST = "Sent on request alone: `POST /v1/webhook-endpoints/{endpoint_id}/test`."


def add_shapes(document: Node) -> None:
    """Add the schemas of what goes out, before schemas get their names."""
    models = [(model, "serialization") for model in PAYLOADS.values()]
    _, found = models_json_schema(models, ref_template=f"{PREFIX}{{model}}")  # type: ignore[arg-type]  # a list of pairs is taken
    for schema in found["$defs"].values():
        if "properties" in schema:
            schema["required"] = list(schema["properties"])  # what is not known goes out as null
    document["components"]["schemas"] |= found["$defs"]


def add_webhooks(document: Node) -> None:
    """Add an operation for each type, as the receiver has it."""
    document["components"]["parameters"] |= PARAMETERS
    document["webhooks"] = {
        kind: {"post": _operation(document, kind)} for kind in map(str, PAYLOADS)
    }


def _operation(document: Node, kind: str) -> Node:
    model = PAYLOADS[kind]
    name = RENAMED.get(model.__name__, model.__name__)
    schema = {"$ref": f"{PREFIX}{name}"}
    words = kind.replace(".", "_")
    example = compose(document["components"]["schemas"], schema)
    to_whom = _ASKED if kind != TEST_TYPE else _TEST
    return {
        "operationId": f"receive_{words}",
        "summary": words.replace("_", " ").capitalize(),
        "description": f"{markdown(model.__doc__ or '')} {to_whom}",
        "tags": [TAG],
        "parameters": [{"$ref": f"#/components/parameters/{one}"} for one in PARAMETERS],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        },
        "responses": ANSWERS,
        "security": [],
    }

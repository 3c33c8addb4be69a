"""Complete FastAPI's OpenAPI document.

This module adds security with scopes, error responses, headers, links, names of schemas and
descriptions of tags. All these parts are made by rules, so a new route needs no entry here.
"""

from collections.abc import Iterable

from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from crm_api.domain.kit.docstrings import first_paragraph
from crm_api.domain.kit.examples import example_id
from crm_api.domain.outbound.live_events.payloads import PAYLOADS, TEST_TYPE
from crm_api.routers.http.openapi import descriptions, failures
from crm_api.routers.http.openapi.examples import add_examples, compose
from crm_api.routers.http.openapi.headers import (
    PARAMETERS,
    complete_headers,
    header_parameter,
    used_headers,
)
from crm_api.routers.http.openapi.links import link_operations
from crm_api.routers.http.openapi.naming import PREFIX, Node, name_schemas, operations
from crm_api.routers.http.openapi.security import security_of, security_schemes

SERVERS = [{"url": "/", "description": "The server that sent this document."}]
TAGS = {
    "contacts": "People, identified by phone number, with their flags, opt-outs and timeline.",
    "imports": "Import contacts from files or from the provider: check an import in a dry run, "
    "start it, undo it.",
    "lists": "Named lists of contacts.",
    "segments": "Groups of contacts that match rules. The rules are evaluated each time a segment "
    "is used.",
    "custom fields": "Fields that you add to contacts, each with a name and a type of values.",
    "properties": "Buildings with their address, their attributes and their contacts.",
    "preferences": "The settings of each user: time zone, language, colours, notices, devices for "
    "web push, and saved views of lists.",
    "notes": "Notes that users write about a contact.",
    "tasks": "What users must do, until when, and for which contact or conversation.",
    "merging": "Merge contacts that are the same person, and undo merges.",
    "consent": "Opt-outs and opt-ins of phone numbers, with their history as proof.",
    "phone validation": "Find out the line type of phone numbers: mobile, landline or VoIP.",
    "lines": "The company's own phone numbers, with the sending limits of each number.",
    "settings": "Settings of the sending company: names, test numbers, brand, carrier budgets.",
    "campaigns": "Send one message to many contacts, within the campaign's hours and limits.",
    "tags": "Tags of contacts: count, rename or remove tags, or change the tags of many contacts.",
    "templates": "Saved texts of messages, for use in campaigns.",
    "conversations": "Messages and calls between a line and a phone number.",
    "appointments": "Appointments with contacts, as JSON and for calendars.",
    "reminders": "Messages that remind people of their appointments.",
    "quotes and invoices": "What contacts were offered, and what they owe.",
    "calendars": "Calendars of CalDAV servers that are synchronised with appointments, and secret "
    "addresses under which calendar programs read appointments.",
    "outcomes": "Results of messages: appointments, quotes, jobs and payments, as a ledger.",
    "insight": "What messages cost and earn: attribution, measures, costs and holdouts.",
    "media": "Pictures in messages and recordings of calls.",
    "webhooks": "Events received from the provider, and how they were processed.",
    "webhook endpoints": "URLs to which this service sends its events, and the deliveries to them.",
    "events": "Live events as a stream. After a disconnect, a client can continue with the first "
    "event that it missed.",
    "operations": "Alerts, reconciliation runs, health checks, scheduled jobs and workers.",
    "compliance": "Legal sending hours and limits, each with its source.",
    "access": "API keys and the audit log.",
    "auth": "Sign in, sign out, and change or reset a password.",
    "users": "Users who can sign in.",
    "sandbox": "For developers: control the clock, the people and the faults of the sandbox. Not "
    "available if the service has a real API key of the provider.",
    "health": "Liveness, readiness and metrics of the service.",
}
"""Descriptions of the tags of operations, in the order in which the OpenAPI document shows them."""
STREAM = "text/event-stream"
_ORDER = ("get", "post", "put", "patch", "delete")


def enrich(document: Node, routes: Iterable[APIRoute]) -> Node:
    """Complete FastAPI's OpenAPI document in place, and return the same document."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    document["servers"] = SERVERS
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for _, _, operation in operations(document):
        _describe_stream(operation)
    add_shapes(document)
    failures.add_problem(document)
    name_schemas(document)
    descriptions.tidy_docstrings(document)
    descriptions.describe_answers(document)
    descriptions.describe_parameters(document)
    _drop_defaults_of_changes(document)
    _order_methods(document)
    link_operations(document)
    components["schemas"] = dict(sorted(components["schemas"].items()))
    components["parameters"] = dict(PARAMETERS)
    components["securitySchemes"] = security_schemes()
    for route in routes:
        known = document["paths"].get(route.path_format, {})
        for method in map(str.lower, route.methods or ()):
            if method in known:
                operation = known[method]
                operation["security"] = security_of(route)
                complete_headers(route.path, method, operation, is_read="get" in known)
                failures.complete(document, operation, route)
    for name in ("examples", "responses"):
        components[name] = dict(sorted(components[name].items()))
    components["headers"] = used_headers(document)
    add_examples(document)
    add_webhooks(document)
    for schema in components["schemas"].values():
        # The examples of the request and response bodies contain this example now.
        schema.pop("example", None)
    descriptions.describe_properties(document)
    return document


def _describe_stream(operation: Node) -> None:
    """For an event stream, describe the events' data; remove FastAPI's JSON response."""
    content = operation["responses"].get("200", {}).get("content", {})
    if STREAM in content:
        schema = content.pop("application/json", {}).get("schema", {})
        content[STREAM]["schema"] |= {"contentMediaType": STREAM, "contentSchema": schema}


def _drop_defaults_of_changes(document: Node) -> None:
    """Remove the default values from the request bodies of all PATCH operations.

    A PATCH does not change fields that are left out. A generated client would send the defaults,
    and so reset fields that its user did not want to change.
    """
    schemas: Node = document["components"]["schemas"]
    for _, method, operation in operations(document):
        if method != "patch":
            continue
        for content in operation["requestBody"]["content"].values():
            name = content["schema"]["$ref"].rpartition("/")[2]
            for field in schemas[name]["properties"].values():
                field.pop("default", None)


def _order_methods(document: Node) -> None:
    """Sort the methods of each path in the order of ``_ORDER``: GET first, DELETE last."""
    for path, known in document["paths"].items():
        document["paths"][path] = dict(sorted(known.items(), key=lambda one: _ORDER.index(one[0])))


TAG = "webhook endpoints"
WEBHOOK_HEADERS: Node = {
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
            # Every field is always present; a field without a value is null.
            schema["required"] = list(schema["properties"])
    document["components"]["schemas"] |= found["$defs"]


def add_webhooks(document: Node) -> None:
    """Add one webhook operation for each event type: the request that an endpoint receives."""
    document["components"]["parameters"] |= WEBHOOK_HEADERS
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
        "parameters": [{"$ref": f"#/components/parameters/{one}"} for one in WEBHOOK_HEADERS],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        },
        "responses": ANSWERS,
        "security": [],
    }

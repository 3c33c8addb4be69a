"""Complete FastAPI's OpenAPI document.

This module adds security with scopes, error responses, headers, links, names of schemas and
descriptions of tags. All these parts are made by rules, so a new route needs no entry here.
"""

from collections.abc import Iterable

from fastapi.routing import APIRoute

from crm_api.routers.http.document_walk import Node, operations
from crm_api.routers.http.openapi import descriptions, failures
from crm_api.routers.http.openapi.examples import add_examples
from crm_api.routers.http.openapi.headers import PARAMETERS, complete_headers, used_headers
from crm_api.routers.http.openapi.links import link_operations
from crm_api.routers.http.openapi.naming import name_schemas
from crm_api.routers.http.openapi.outgoing import add_shapes, add_webhooks
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
"""Descriptions of the tags of operations, in the order in which the document shows them."""
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
        schema.pop("example", None)  # the request and response bodies contain it now
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

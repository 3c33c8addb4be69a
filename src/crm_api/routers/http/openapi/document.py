"""Complete FastAPI's OpenAPI document.

This module adds security with scopes, error responses, headers, links, names of schemas and
descriptions of tags. All of it follows from rules, so a new route needs no entry here.
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
from crm_api.routers.http.openapi.tags import TAGS

SERVERS = [{"url": "/", "description": "The server that sent this document."}]
STREAM = "text/event-stream"
_ORDER = ("get", "post", "put", "patch", "delete")


def enrich(document: Node, routes: Iterable[APIRoute]) -> Node:
    """Complete FastAPI's document in place, and return it."""
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

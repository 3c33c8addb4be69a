"""The OpenAPI document, made complete.

Added here, by rule and not by hand, so that a new route has it too: who may call (security with
scopes), every problem that a caller may meet, headers, links, names, what the tags mean.
"""

from collections.abc import Iterable

from fastapi.routing import APIRoute

from crm_api.routers.openapi import failures
from crm_api.routers.openapi.changes import drop_defaults_of_changes
from crm_api.routers.openapi.examples.composing import add_examples
from crm_api.routers.openapi.headers import PARAMETERS, complete_headers, used_headers
from crm_api.routers.openapi.links import link_operations
from crm_api.routers.openapi.naming import name_schemas
from crm_api.routers.openapi.outgoing import add_shapes, add_webhooks
from crm_api.routers.openapi.parameters import explain_parameters, order_methods
from crm_api.routers.openapi.security import security_of, security_schemes
from crm_api.routers.openapi.tags import TAGS
from crm_api.routers.openapi.walking import Node, operations
from crm_api.routers.openapi.wording import word_answers, word_descriptions

SERVERS = [{"url": "/", "description": "Where this document comes from."}]
STREAM = "text/event-stream"


def enrich(document: Node, routes: Iterable[APIRoute]) -> Node:
    """Add to FastAPI's document what it cannot know; the same document comes back."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    document["servers"] = SERVERS
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for _, _, operation in operations(document):
        _describe_stream(operation)
    add_shapes(document)
    name_schemas(document)
    word_descriptions(document)
    word_answers(document)
    explain_parameters(document)
    drop_defaults_of_changes(document)
    order_methods(document)
    link_operations(document)
    components["schemas"] |= failures.SCHEMAS
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
    return document


def _describe_stream(operation: Node) -> None:
    """Say what the data of a stream's events are, instead of an answer that is never given."""
    content = operation["responses"].get("200", {}).get("content", {})
    if STREAM in content:
        schema = content.pop("application/json", {}).get("schema", {})
        content[STREAM]["schema"] |= {"contentMediaType": STREAM, "contentSchema": schema}

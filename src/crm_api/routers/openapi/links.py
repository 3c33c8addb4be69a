"""Where an answer leads: what was made can be read, changed, started; a list has a next page."""

import re

from crm_api.routers.openapi.walking import Node, camel, operations

_PARAMETER = re.compile(r"\{(\w+)\}")


def link_operations(document: Node) -> None:
    """Add links from each answer that tells an id to the operations of the path with that id."""
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            links: Node = {}
            if "next_cursor" in _named(document, schema).get("properties", {}):
                links |= _to_next_page(path, operation)
            if method in {"get", "post"} and status.startswith("2"):
                links |= _into(document, path, _told(document, schema), operation)
            if links:
                answer["links"] = links


def _to_next_page(path: str, operation: Node) -> Node:
    if all(one.get("name") != "cursor" for one in operation.get("parameters", ())):
        return {}  # a list that is always one page
    next_page = {
        "operationId": operation["operationId"],
        "description": "The page after this one, unless the cursor is null.",
        "parameters": {**_outer(path), "cursor": "$response.body#/next_cursor"},
    }
    return {"NextPage": next_page}


def _outer(path: str) -> Node:
    return {name: f"$request.path.{name}" for name in _PARAMETER.findall(path)}


def _told(document: Node, schema: Node) -> tuple[str, Node]:
    """Return what an answer tells of, one thing or the first of a list, and where in it."""
    items = _named(document, schema).get("properties", {}).get("data", {}).get("items")
    return ("$response.body#", schema) if items is None else ("$response.body#/data/0", items)


def _into(document: Node, path: str, told: tuple[str, Node], source: Node) -> Node:
    """Return the links to all that is done with one of a collection."""
    outer = _outer(path)
    links: Node = {}
    for target, _, operation in operations(document):
        one, _, deeper = target.removeprefix(f"{path}/").partition("/")
        parameter = _PARAMETER.fullmatch(one)
        if parameter is None or "{" in deeper or operation is source:
            continue
        member = _member(document, told[1], parameter[1], is_inner=bool(outer))
        if member is not None:
            links[camel(operation["operationId"])] = {
                "operationId": operation["operationId"],
                "parameters": {**outer, parameter[1]: f"{told[0]}/{member}"},
            }
    return links


def _member(document: Node, schema: Node, parameter: str, *, is_inner: bool) -> str | None:
    """Return which member of a thing the parameter is; None when it is of something else.

    What is put into another thing is often answered with that thing, whose id is another's.
    """
    properties = _named(document, schema).get("properties", {})
    if parameter in properties:
        return parameter
    is_own = _name(schema).startswith(camel(parameter.removesuffix("_id"))) or not is_inner
    return "id" if is_own and "id" in properties else None


def _named(document: Node, schema: Node) -> Node:
    found: Node = document["components"]["schemas"].get(_name(schema), {})
    return found


def _name(schema: Node) -> str:
    name: str = schema.get("$ref", "").rpartition("/")[2]
    return name

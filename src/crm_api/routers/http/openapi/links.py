"""Add links to the OpenAPI document: from a response with an id to operations that take the id."""

import re

from crm_api.routers.http.openapi.naming import Node, camel, operations

_PARAMETER = re.compile(r"\{(\w+)\}")


def link_operations(document: Node) -> None:
    """Add links to the responses in the API document. A link names a possible next operation.

    If a response contains the id of an item, links lead to the operations that have this id in
    their path. If a response is a page of a list, a link leads to the next page.
    """
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            links: Node = {}
            if "next_cursor" in _named(document, schema).get("properties", {}):
                links |= _to_next_page(path, operation)
            if method in {"get", "post"} and status.startswith("2"):
                links |= _to_operations(document, path, _linked_item(document, schema), operation)
            if links:
                answer["links"] = links


def _to_next_page(path: str, operation: Node) -> Node:
    if all(one.get("name") != "cursor" for one in operation.get("parameters", ())):
        # The operation has no pages: it always returns the whole list.
        return {}
    next_page = {
        "operationId": operation["operationId"],
        "description": "The next page of the list. If `next_cursor` is null, no page follows.",
        "parameters": {**_outer(path), "cursor": "$response.body#/next_cursor"},
    }
    return {"NextPage": next_page}


def _outer(path: str) -> Node:
    return {name: f"$request.path.{name}" for name in _PARAMETER.findall(path)}


def _linked_item(document: Node, schema: Node) -> tuple[str, Node]:
    """Return the runtime expression and the schema of the item in a response.

    The runtime expression is the place of the item in the response, in the notation of OpenAPI. If
    the response is a list, its item is the first element of ``data``.
    """
    items = _named(document, schema).get("properties", {}).get("data", {}).get("items")
    return ("$response.body#", schema) if items is None else ("$response.body#/data/0", items)


def _to_operations(document: Node, path: str, item: tuple[str, Node], source: Node) -> Node:
    """Return the links from an item to the operations on this item.

    The path of each linked operation begins with ``path`` and the item's id. The rest of the path
    has no parameter.

    Args:
        path: The path of the operation that returns the item.
        item: The place of the item in the response (an OpenAPI runtime expression), and the schema
            of the item.
        source: The operation that returns the item. It gets no link to itself.
    """
    outer = _outer(path)
    links: Node = {}
    for target, _, operation in operations(document):
        one, _, deeper = target.removeprefix(f"{path}/").partition("/")
        parameter = _PARAMETER.fullmatch(one)
        if parameter is None or "{" in deeper or operation is source:
            continue
        member = _member(document, item[1], parameter[1], is_inner=bool(outer))
        if member is not None:
            links[camel(operation["operationId"])] = {
                "operationId": operation["operationId"],
                "parameters": {**outer, parameter[1]: f"{item[0]}/{member}"},
            }
    return links


def _member(document: Node, schema: Node, parameter: str, *, is_inner: bool) -> str | None:
    """Return the name of the field that has the value of a path parameter; None if none has it.

    - If the item has a field with the name of the parameter, return this name.
    - If not, and if the item has a field ``id``, return ``id``. But if ``is_inner`` is True, the
      name of the schema must also begin with the name of the parameter, as ``ListRead`` does for
      ``list_id``.

    Args:
        schema: The schema of the item.
        is_inner: True if the path contains the id of another item before the parameter.
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

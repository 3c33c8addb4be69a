"""What each parameter means, and how lists of values are written."""

from crm_api.routers.openapi.walking import Node, operations

MEANINGS = {
    "accept": "The media type that is wanted.",
    "activity_id": "Of this message or call alone.",
    "archived": "Those that are archived instead of those that stand.",
    "campaign_id": "Of this campaign alone.",
    "city": "In this city; case and accents do not matter.",
    "contact_id": "With this contact alone.",
    "error_code": "Those whose last failure has this code.",
    "flag": "The name of the flag.",
    "has_email": "Those with an e-mail address, or those without.",
    "if-none-match": "The ETag of what is known: 304 when it is still so.",
    "if-range": "The ETag of what is known: the whole, when it has changed.",
    "kind": "Of this kind alone.",
    "last-event-id": "The id of the last event that was seen: what came since comes first.",
    "line_id": "Over this line alone.",
    "list_id": "On this list.",
    "min_score": "Those at least as sure as this, of 100.",
    "opted_out": "Those whose number is opted out, or those whose is not.",
    "phone": "The number, in E.164 or as it is usually written.",
    "postal_code": "The postal code of the address.",
    "range": "The bytes that are wanted: `bytes=0-1023`.",
    "received_after": "Received later than this.",
    "sort": "The order; a minus turns it round.",
    "state": "The state of the address, by its two letters.",
    "status": "In this status alone.",
    "street": "Number and street of the address.",
    "tag": "With this tag.",
    "type": "Of this type alone.",
    "x-csrf-token": "The value of the cookie `crm_csrf`, where the refresh token is in a cookie.",
}
"""By name, for those of which the route says nothing."""

_ORDER = ("get", "post", "put", "patch", "delete")


def explain_parameters(document: Node) -> None:
    """Say of each parameter what it is; an id in a path is explained by its name."""
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            if "description" not in parameter:
                _explain(parameter)
            if parameter.get("schema", {}).get("type") == "array":
                parameter |= {"style": "form", "explode": True}


def order_methods(document: Node) -> None:
    """Put the methods of each path in the usual order: reading first, deleting last."""
    for path, known in document["paths"].items():
        document["paths"][path] = dict(sorted(known.items(), key=lambda one: _ORDER.index(one[0])))


def _explain(parameter: Node) -> None:
    name = parameter["name"].lower()
    if parameter["in"] == "path" and name.endswith("_id"):
        thing = name.removesuffix("_id").replace("_", " ")
        parameter["description"] = f"The id of the {thing}."
    elif name in MEANINGS:
        parameter["description"] = MEANINGS[name]

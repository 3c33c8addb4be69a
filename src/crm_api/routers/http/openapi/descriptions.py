"""Describe everything in the document: schemas, properties, answers, parameters.

A model describes its fields in its docstring, and a route its parameters. Here are the names that
mean the same in many models, and what follows from a name.
"""

from crm_api.domain.kit.docstrings import split_docstring
from crm_api.routers.http.document_walk import Node, operations
from crm_api.routers.http.openapi.naming import PREFIX

_SAYS_NOTHING = "Successful Response"
SHARED = {
    "ab_test": "The comparison of the variants; null without one.",
    "actor": "The name of the API key, or the e-mail address of the user.",
    "address": "The postal address.",
    "at": "When it happened.",
    "attributes": "Further values by name. A custom field sets the type of a value.",
    "body": "The text. In a campaign or a template, it is a Liquid template.",
    "campaign_id": "The id of the campaign; null if it belongs to none.",
    "city": "The city.",
    "code": "A stable code for programs.",
    "contact_id": "The id of the contact; null if no contact has the number.",
    "contact_ids": "The ids of the contacts.",
    "conversation_id": "The id of the conversation; null without one.",
    "created_at": "When it was created.",
    "detail": "What happened and what to do next.",
    "direction": "Whether it is incoming or outgoing.",
    "dry_run": "True: only count what would change; change nothing.",
    "email": "The e-mail address.",
    "error_code": "The code of the failure; null without a failure.",
    "expires_at": "When it expires; null if it does not expire.",
    "filter": "The rules; see `GET /v1/segments/fields`.",
    "finished_at": "When it ended; null until then.",
    "first_name": "The first name.",
    "flag": "The name of the flag.",
    "id": "The id.",
    "last_error": "What went wrong the last time; null without a failure.",
    "last_name": "The last name.",
    "name": "The name, for people.",
    "note": "A free text for people; null without one.",
    "occurred_at": "When it happened.",
    "on_duplicate": "What happens to an existing contact: fill empty fields, overwrite, or skip.",
    "op": "The operation of the item.",
    "phone": "The phone number in E.164.",
    "pinned": "Whether the note is shown first.",
    "postal_code": "The postal code.",
    "reason": "The reason, in the words of the person who decided; null without one.",
    "role": "The role.",
    "started_at": "When it began; null until then.",
    "state": "The two-letter code of the state.",
    "status": "The status.",
    "street": "The street with the house number.",
    "timezone": "The IANA name of the time zone.",
    "type": "The type.",
    "updated_at": "When it was last changed.",
    "variant": "The name of the variant.",
    "variants": "The variants.",
}
"""Descriptions of properties that their model does not describe, by name."""


def tidy_docstrings(document: Node) -> None:
    """Move the attributes of each docstring to their properties; drop the other sections."""
    for schema in document["components"]["schemas"].values():
        text, attributes = split_docstring(schema.get("description", ""))
        if text:
            schema["description"] = text
        if "enum" in schema and attributes:
            schema["description"] = _with_values(text, attributes)
    for _, _, operation in operations(document):
        operation["description"] = split_docstring(operation["description"])[0]


def _with_values(text: str, attributes: dict[str, str]) -> str:
    """Return the description of an enumeration, with a list of its values."""
    lines = [f"- `{name.lower()}`: {said}" for name, said in attributes.items()]
    return "\n".join((text, "", *lines))


def describe_answers(document: Node) -> None:
    """Describe each answer that its route does not describe."""
    for _, _, operation in operations(document):
        for answer in operation["responses"].values():
            if answer["description"] == _SAYS_NOTHING:
                answer["description"] = _first_sentence(document, answer) or "Done."


def _first_sentence(document: Node, answer: Node) -> str:
    for content in answer.get("content", {}).values():
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        said: str = document["components"]["schemas"].get(name, {}).get("description", "")
        return said.split("\n\n", maxsplit=1)[0].replace("\n", " ")
    return ""


def describe_parameters(document: Node) -> None:
    """Describe each id in a path by its name, and say how lists of values are written."""
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            name, schema = parameter["name"], parameter["schema"]
            if parameter["in"] == "path" and name.endswith("_id"):
                parameter.setdefault("description", _id_of(name))
            schema.pop("title", None)
            if schema.get("type") == "array":
                parameter |= {"style": "form", "explode": True}


def describe_properties(document: Node) -> None:
    """Describe each property that has no description yet.

    A property that holds a word of a closed set gets the first sentence of the set.
    """
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        for name, part in schema.get("properties", {}).items():
            shown = schemas.get(part.get("$ref", "").removeprefix(PREFIX), {})
            text = SHARED.get(name)
            if text is None and name.endswith("_id"):
                text = _id_of(name)
            if text is None and "enum" in shown:
                text = shown.get("description", "").split("\n")[0] or None
            if text is not None and not part.get("description"):
                part["description"] = text


def _id_of(name: str) -> str:
    return f"The id of the {name.removesuffix('_id').replace('_', ' ')}."

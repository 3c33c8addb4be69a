"""Describe schemas, properties, responses and parameters in the OpenAPI document.

The docstring of a model describes its fields, and a route describes its parameters. This module
adds missing descriptions of ids, and of fields that mean the same in many models.
"""

import re

from crm_api.domain.kit.docstrings import split_docstring
from crm_api.routers.http.openapi.naming import PREFIX, Node, operations

_SAYS_NOTHING = "Successful Response"
SHARED = {
    "ab_test": "The A/B test that compares the variants of the message; null if there is no test.",
    "actor": "Who did this: the name of the API key, or the e-mail address of the user.",
    "address": "The postal address.",
    "at": "The time of the {thing}.",
    "attributes": "Further values of the {thing}, by name. If a contact has a custom field with "
    "this name, the custom field defines the type of the value.",
    "body": "The text of the {thing}. Texts of campaigns and templates are Liquid templates.",
    "campaign_id": "The id of the campaign; null without a campaign.",
    "city": "The city of the address.",
    "code": "A stable code, for use in programs.",
    "contact_id": "The id of the contact; null if no contact has the phone number.",
    "contact_ids": "The ids of the contacts.",
    "conversation_id": "The id of the conversation; null without a conversation.",
    "created_at": "The time of creation.",
    "detail": "What happened and what to do next, in a sentence.",
    "direction": "Whether the {thing} is incoming or outgoing.",
    "dry_run": "True if nothing is changed and the response only counts what would change.",
    "email": "The e-mail address of the {thing}.",
    "error_code": "The code of the error; null if there was no error.",
    "expires_at": "When the {thing} expires; null if it never expires.",
    "filter": "The rules that contacts must match. `GET /v1/segments/fields` lists their fields.",
    "finished_at": "When the {thing} finished; null if it has not finished yet.",
    "first_name": "The first name of the contact.",
    "flag": "The name of the flag.",
    "id": "The id of the {thing}.",
    "last_error": "The error of the last attempt; null if the last attempt succeeded.",
    "last_name": "The last name of the contact.",
    "name": "The name of the {thing}.",
    "note": "A remark; null if there is none.",
    "occurred_at": "The time of the {thing}.",
    "on_duplicate": "What to do with a contact that already exists: fill its empty fields, "
    "overwrite its fields, or skip it.",
    "op": "The operation to run for this item.",
    "phone": "The phone number in E.164 format.",
    "pinned": "Whether the note is shown before other notes.",
    "postal_code": "The postal code of the address.",
    "reason": "The reason, in the words of the person who decided; null if no reason was given.",
    "role": "The role of the {thing}.",
    "started_at": "When the {thing} started; null if it has not started yet.",
    "state": "The two-letter code of the state.",
    "status": "The status of the {thing}.",
    "street": "The street and the house number.",
    "timezone": "The IANA name of the time zone, such as `America/New_York`.",
    "type": "The type of the {thing}.",
    "updated_at": "The time of the last change.",
    "variant": "The name of the variant of the message.",
    "variants": "The variants of the message.",
}
"""Descriptions of fields in the OpenAPI document, by the name of the field.

They are used if the model does not describe the field. ``{thing}`` is replaced by what the model
describes, such as ``campaign``.
"""
_PARTS_OF_NAMES = re.compile(
    r"(Read|Detail|Created?|Updated?|Upsert|Rotated?|Invited?|Retry|Stats|Preview|Facts|Rename)$"
)
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_THINGS = {
    "ABTestRead": "A/B test",
    "AffectedContact": "contact",
    "AliveRead": "process",
    "ApiKeyCreate": "API key",
    "ApiKeyCreated": "API key",
    "ApiKeyRead": "API key",
    "ApiKeyUpdate": "API key",
    "AuditEntryRead": "audit log entry",
    "CloneRequest": "new campaign",
    "ClockRead": "sandbox clock",
    "ConsentEntryRead": "consent history entry",
    "DeleteItem": "contact",
    "DeliveriesRetry": "events to deliver again",
    "DraftPreview": "campaign",
    "ExplanationRead": "recipient",
    "FollowUpRead": "follow-up",
    "ForecastRead": "campaign",
    "ImportUndoRead": "undo",
    "InvitationAccept": "user",
    "ItemResult": "response for this item",
    "MediaFetchRetry": "fetches to start again",
    "MembersAdded": "list",
    "MergedContactRead": "contact",
    "PasswordResetRequest": "user",
    "PropertyContactAdd": "contact for the property",
    "PropertyContactRead": "contact for the property",
    "ProvenEntry": "consent history entry",
    "ProvenFlag": "flag",
    "ProvenMessage": "message",
    "ReadinessRead": "service",
    "ReplayRequest": "events to process again",
    "ReplyCreate": "message",
    "SegmentMembership": "recipient in the campaign",
    "TimelineCall": "call",
    "TimelineConsent": "consent decision",
    "TimelineMessage": "message",
    "TimelineNote": "note",
    "TimelineStep": "campaign step",
    "UndoneImportRead": "import",
    "UpdateItem": "contact",
    "WebhookHealthRead": "webhooks",
    "WebhookHealthSideRead": "last check",
}
"""What each of these models describes. Only models whose class name does not show this are
listed."""


def tidy_docstrings(document: Node) -> None:
    """Remove the docstring sections ("Attributes:", "Raises:") from all descriptions.

    The class ``DocumentedModel`` has already copied the attributes of each model to the
    descriptions of its properties. An enumeration has no properties, so its description gets a list
    of its values instead.
    """
    for schema in document["components"]["schemas"].values():
        text, attributes = split_docstring(schema.get("description", ""))
        if text:
            schema["description"] = text
        if "enum" in schema and attributes:
            schema["description"] = _with_values(text, attributes)
    for _, _, operation in operations(document):
        operation["description"] = split_docstring(operation["description"])[0]


def _with_values(text: str, attributes: dict[str, str]) -> str:
    """Return the description of an enumeration, followed by a list of its values."""
    lines = [f"- `{name.lower()}`: {said}" for name, said in attributes.items()]
    return "\n".join((text, "", *lines))


def describe_answers(document: Node) -> None:
    """Describe each response that has no description.

    The description is the first paragraph of the docstring of the model in the response body. If
    there is no such docstring, the description is a fixed sentence.
    """
    for _, _, operation in operations(document):
        for answer in operation["responses"].values():
            if answer["description"] == _SAYS_NOTHING:
                answer["description"] = (
                    _first_sentence(document, answer) or "The operation has succeeded."
                )


def _first_sentence(document: Node, answer: Node) -> str:
    for content in answer.get("content", {}).values():
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        said: str = document["components"]["schemas"].get(name, {}).get("description", "")
        return said.split("\n\n", maxsplit=1)[0].replace("\n", " ")
    return ""


def describe_parameters(document: Node) -> None:
    """Describe each id in a path, and state how lists are sent: ``?status=a&status=b``."""
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            name, schema = parameter["name"], parameter["schema"]
            if parameter["in"] == "path" and name.endswith("_id"):
                parameter.setdefault("description", _id_of(name))
            schema.pop("title", None)
            if schema.get("type") == "array":
                parameter |= {"style": "form", "explode": True}


def describe_properties(document: Node) -> None:
    """Describe each property that has no description.

    The text is the entry of ``SHARED`` for the name of the property. An enumeration without such an
    entry gets the first line of its own description.
    """
    schemas = document["components"]["schemas"]
    for model, schema in schemas.items():
        for name, part in schema.get("properties", {}).items():
            shown = schemas.get(part.get("$ref", "").removeprefix(PREFIX), {})
            text = SHARED.get(name)
            if text is not None:
                text = text.format(thing=_thing_of(model))
            if text is None and name.endswith("_id"):
                text = _id_of(name)
            if text is None and "enum" in shown:
                text = shown.get("description", "").split("\n")[0] or None
            if text is not None and not part.get("description"):
                part["description"] = text


def _thing_of(model: str) -> str:
    """Return what a model describes, in words: ``webhook event`` for ``WebhookEventRead``."""
    return _THINGS.get(model) or _WORDS.sub(" ", _PARTS_OF_NAMES.sub("", model)).lower()


def _id_of(name: str) -> str:
    return f"The id of the {name.removesuffix('_id').replace('_', ' ')}."

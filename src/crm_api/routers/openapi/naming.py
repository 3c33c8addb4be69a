"""Names for every schema, since generators make one type of each.

Models have theirs from pydantic. Here those get a better one whose name says little outside of
its package, and free objects, maps and sets of words inside of a model get one at all.
"""

from typing import Any

from crm_api.routers.openapi.walking import Node, camel, nodes, operations

PREFIX = "#/components/schemas/"
RENAMED = {
    "Body": "ProviderEvent",
    "Body_sign_in": "SignInForm",
    "ChainEnd": "ConsentChainEnd",
    "ChangeRead": "ImportChangeRead",
    "ColumnRead": "ImportColumnRead",
    "CandidateRead": "MergeCandidateRead",
    "ComparisonRead": "VariantComparisonRead",
    "DayTexts": "ForecastDay",
    "ExampleRead": "ImportExampleRead",
    "FieldRead": "SegmentFieldRead",
    "FieldsRead": "SegmentFieldsRead",
    "FitRead": "CustomFieldFitRead",
    "Interval": "RateInterval",
    "Kind": "SegmentFieldKind",
    "Measure": "ComparedMeasure",
    "MisfitRead": "CustomFieldMisfitRead",
    "MissingRead": "MissingReferenceRead",
    "NodeVerdict": "SegmentNodeVerdict",
    "OccupantRead": "PropertyContactRead",
    "OutsideRead": "OutsideForecastRead",
    "Reason": "MergeReason",
    "ReasonRead": "MergeReasonRead",
    "RetryAll": "MediaFetchRetry",
    "RetryRead": "MediaFetchesRetried",
    "Role": "UserRole",
    "Rule": "ComplianceRule",
    "RuleKind": "ComplianceRuleKind",
    "Rules": "CampaignRules",
    "Schedule": "CampaignSchedule",
    "Side": "WebhookHealthSide",
    "SideRead": "WebhookHealthSideRead",
    "StopRead": "SendStopRead",
    "TestEvent": "WebhookTestEvent",
    "TestFacts": "WebhookTestFacts",
    "TestStatus": "VariantTestStatus",
    "UndoRead": "ImportUndoRead",
    "ValueRead": "ImportValueRead",
    "Verdict": "ConsentVerdict",
    "crm_api__domain__campaigns__answers__RulesRead": "CampaignRulesRead",
    "crm_api__domain__compliance__schemas__RulesRead": "ComplianceRulesRead",
}
"""The model's name, and the one in the document."""

SHARED = {
    ("mon", "tue", "wed", "thu", "fri", "sat", "sun"): "Weekday",
    ("fill", "overwrite", "skip"): "OnDuplicate",
}
"""Sets of words that several models have."""

JSON_OBJECT = "JsonObject"
PAGE = "PageRead_"
"""FastAPI names generic models by their parts; ``PageRead`` gives a better name as title."""


def name_schemas(document: Node) -> None:
    """Give every schema that is an object or a set of words a name of its own."""
    schemas: Node = document["components"]["schemas"]
    for _, _, operation in operations(document):
        for part, content in _contents(operation):
            schema = content.get("schema", {})
            given = schema.pop("title", " ")
            if not is_plain(schema):
                name = f"{camel(operation['operationId'])}{part}" if " " in given else given
                content["schema"] = _moved(schemas, schema, name)
    _rename(document)
    schemas = document["components"]["schemas"]
    for name in tuple(schemas):
        for part, schema in schemas[name].get("properties", {}).items():
            _name_inner(schemas, schema, f"{name.removesuffix('Read')}{camel(part)}")


def is_plain(schema: Node) -> bool:
    """Say whether a schema has a name, or needs none: text, or one of several named ones."""
    if "$ref" in schema or schema.get("type") in {"string", "null"} or not schema:
        return True
    return "anyOf" in schema and all(is_plain(one) for one in schema["anyOf"])


def _contents(operation: Node) -> list[tuple[str, Node]]:
    found = [("Body", one) for one in operation.get("requestBody", {}).get("content", {}).values()]
    for answer in operation["responses"].values():
        found += [("Answer", one) for one in answer.get("content", {}).values()]
    return found


def _rename(document: Node) -> None:
    schemas: Node = document["components"]["schemas"]
    pages = {name: schema["title"] for name, schema in schemas.items() if PAGE in name}
    names = {old: new for old, new in (RENAMED | pages).items() if old in schemas}
    document["components"]["schemas"] = {
        names.get(name, name): schema for name, schema in schemas.items()
    }
    for node in nodes(document):
        if isinstance(node.get("$ref"), str):
            node["$ref"] = _renamed(node["$ref"], names)
        mapping = node.get("discriminator", {})
        if isinstance(mapping, dict) and "mapping" in mapping:
            mapping["mapping"] = {
                value: _renamed(target, names) for value, target in mapping["mapping"].items()
            }
    for name, schema in document["components"]["schemas"].items():
        schema["title"] = name


def _renamed(reference: str, names: dict[str, str]) -> str:
    name = reference.removeprefix(PREFIX)
    return PREFIX + names.get(name, name)


def _name_inner(schemas: Node, schema: Node, name: str) -> None:
    """Name what a property holds, or holds a list of, or may hold."""
    schema.pop("title", None)
    if "enum" in schema:
        _move(schemas, schema, SHARED.get(tuple(schema["enum"]), name), keys=("type", "enum"))
    elif schema.get("type") == "object":
        keys = ("type", "additionalProperties", "properties", "required")
        is_free = schema.get("additionalProperties", True) is True and "properties" not in schema
        _move(schemas, schema, JSON_OBJECT if is_free else name, keys=keys)
    for inner in (*schema.get("anyOf", ()), schema.get("items")):
        if isinstance(inner, dict):
            _name_inner(schemas, inner, name)


def _move(schemas: Node, schema: Node, name: str, *, keys: tuple[str, ...]) -> None:
    """Leave a reference; what is said of this use alone (description, default) stays beside it."""
    moved = {key: schema.pop(key) for key in keys if key in schema}
    if name == JSON_OBJECT:
        moved = {"description": "Any JSON object.", **moved, "additionalProperties": True}
    schema |= _moved(schemas, moved, name)


def _moved(schemas: Node, schema: Node, name: str) -> dict[str, Any]:
    known = schemas.setdefault(name, schema | {"title": name})
    if {**known, "title": name, "description": ""} != {**schema, "title": name, "description": ""}:
        message = f"Two schemas would be called {name}; give one a name in RENAMED or SHARED."
        raise ValueError(message)
    return {"$ref": f"{PREFIX}{name}"}

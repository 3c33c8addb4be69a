"""Check that every response in any test conforms to the OpenAPI document.

The HTTP clients of the tests pass each response to ``conforms``. It checks the status, the media
type, the code of a problem, and the body against the schema. For this reason, every test of a route
also tests the document.
"""

import json
import re
from functools import cache
from http import HTTPStatus
from typing import Any

import httpx
from jsonschema_rs import Draft202012, Draft202012Validator, Registry

from crm_api.app import build_app
from crm_api.platform.settings import Settings
from crm_api.routers.http.openapi.naming import operations

_NO_OPERATION = {"not_found", "method_not_allowed", "internal_error"}
"""Problem codes that are not checked: unknown path, unsupported method, injected fault."""
_ENOUGH = 3
"""Number of items of a list that are checked; later items are not checked."""


@cache
def _document() -> dict[str, Any]:
    return build_app(Settings()).openapi()


@cache
def _operations() -> list[tuple[str, re.Pattern[str], dict[str, Any]]]:
    """Return method, path pattern and operation of each route, fewest path parameters first."""
    known = sorted(operations(_document()), key=lambda one: one[0].count("{"))
    return [
        (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operation)
        for path, method, operation in known
    ]


async def conforms(response: httpx.Response) -> None:
    """Fail the test if the OpenAPI document does not describe this response."""
    request = response.request
    operation = _operation(request.method, request.url.path)
    if operation is None:
        return
    name = f"{operation['operationId']}: {response.status_code}"
    kind = response.headers.get("content-type", "").partition(";")[0]
    is_json = kind in {"application/json", "application/problem+json"}
    body = await _body(response) if is_json else None
    code = body.get("code") if kind.endswith("problem+json") and isinstance(body, dict) else None
    if code in _NO_OPERATION:
        return
    answer = operation["responses"].get(str(response.status_code))
    assert answer is not None, f"{name} {code} is not in the OpenAPI document"
    answer = _resolved(answer)
    content = answer.get("content", {})
    if response.status_code != HTTPStatus.NO_CONTENT and kind:
        assert content.keys() & {kind, "*/*"}, f"{name}: the document has no {kind}"
    if code is not None:
        documented = set(content[kind]["examples"])
        assert code in documented, f"{name} {code} is not documented: see `fails_with` at the route"
    if is_json and response.content:
        found = validator(json.dumps(content[kind]["schema"])).iter_errors(body)
        faults = [f"{fault.instance_path} {fault.message}" for fault in found]
        assert faults == [], name


def _operation(method: str, path: str) -> dict[str, Any] | None:
    for known, pattern, operation in _operations():
        if known == method and pattern.fullmatch(path):
            return operation
    return None


def _resolved(answer: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in answer:
        return answer
    found: dict[str, Any] = _document()["components"]["responses"][answer["$ref"].split("/")[-1]]
    return found


async def _body(response: httpx.Response) -> Any:
    await response.aread()
    body = response.json() if response.content else None
    if isinstance(body, dict) and isinstance(body.get("data"), list):
        body["data"] = body["data"][:_ENOUGH]
    return body


@cache
def _components() -> Registry:
    components = {"components": _document()["components"]}
    return Registry([("urn:document", components)], draft=Draft202012)


@cache
def validator(schema: str, *, formats: bool = False) -> Draft202012Validator:
    """Return a validator for one schema of the OpenAPI document.

    Args:
        schema: The schema as JSON.
        formats: Whether formats, such as ``date-time``, are also checked.
    """
    absolute = json.loads(schema.replace('"#/components/', '"urn:document#/components/'))
    return Draft202012Validator(absolute, registry=_components(), validate_formats=formats)

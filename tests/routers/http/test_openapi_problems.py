"""Each operation lists the problems that its caller may get, and each problem is listed."""

import ast
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

import crm_api
from crm_api.domain.inbound.webhook_events.envelope import MalformedEventError
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.people.contacts.errors import ContactExistsError
from crm_api.routers.http.openapi.document import enrich
from crm_api.routers.http.openapi.failures import ProblemKind, catalogue, groups_only
from crm_api.routers.http.openapi.naming import operations
from crm_api.routers.http.route_notes import fails_with, shows

CODES_OF_WORKERS_AND_COMMANDS = {
    "address_not_public",
    "archive_not_kept",
    "clock_not_followed",
    "incomplete_event",
    "line_unknown",
    "mail_not_sent",
    "openphone_busy",
    "openphone_down",
    "openphone_held",
    "openphone_list_incomplete",
    "openphone_refused",
    "phone_lookup_budget_spent",
    "phone_lookup_busy",
    "phone_lookup_refused",
    "phone_validation_lost",
    "reconciliation_run_lost",
    "sample_not_received",
    "unreadable_event",
    "upload_changed",
    "webhook_key_not_shown",
    "webhook_missing",
}
"""Problem codes of workers and commands, which no caller of the API gets."""
UNLISTED_CODES = {"method_not_allowed", "internal_error"}
"""Codes of unsupported methods and of internal errors; no operation lists these codes."""


class Greeting(BaseModel):
    """A greeting."""

    text: str


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


@pytest.fixture(scope="module")
def kinds_by_code() -> dict[str, ProblemKind]:
    return {one.code: one for one in catalogue()}


def documented_codes(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, set[str]]:
    """Return the problem codes that an operation lists, by HTTP status."""
    found: dict[str, set[str]] = {}
    for status, answer in operation["responses"].items():
        if status >= "400" and "$ref" in answer:
            shared = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
            found[status] = set(shared["content"]["application/problem+json"]["examples"])
    return found


def test_every_listed_problem_exists_with_this_status(
    document: dict[str, Any], kinds_by_code: dict[str, ProblemKind]
) -> None:
    for _, _, operation in operations(document):
        for status, codes in documented_codes(document, operation).items():
            assert {kinds_by_code[code].status for code in codes} == {int(status)}


def test_every_problem_is_listed_by_an_operation(
    document: dict[str, Any], kinds_by_code: dict[str, ProblemKind]
) -> None:
    """Fail if no operation lists a problem.

    Add its code to ``fails_with`` of a route, or to one of the two sets of this module.
    """
    reached = {
        code
        for _, _, operation in operations(document)
        for codes in documented_codes(document, operation).values()
        for code in codes
    }

    assert set(kinds_by_code) - reached == CODES_OF_WORKERS_AND_COMMANDS | UNLISTED_CODES


def test_problems_of_starting_a_campaign(document: dict[str, Any]) -> None:
    start = document["paths"]["/v1/campaigns/{campaign_id}/start"]["post"]

    codes = documented_codes(document, start)

    assert codes["404"] == {"campaign_not_found", "not_found"}
    assert {"invalid_transition", "idempotency_key_reused"} <= codes["409"]
    assert {"empty_audience", "missing_identification"} <= codes["422"]
    assert codes["403"] == {"missing_scope"}
    # The operation has no body, so the body cannot be malformed.
    assert "400" not in codes


def test_every_problem_document_is_complete(kinds_by_code: dict[str, ProblemKind]) -> None:
    for one in kinds_by_code.values():
        assert one.document["code"] == one.code
        assert one.meaning[0].isupper()
        assert one.meaning.endswith(".")
        assert one.detail.endswith("."), one.code
        assert one.detail != one.meaning, one.code
        if one.status == 422:
            assert isinstance(one.document["errors"], list)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("error", [ContactExistsError, MalformedEventError])
def test_class_without_a_detail_needs_an_example(
    error: type[CrmError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prove that each error class shows a text, even if the document does not contain the class.

    ``MalformedEventError`` has the code of other classes, so its example is not in the document.
    """
    monkeypatch.setattr(error, "__init__", CrmError.__init__)
    monkeypatch.setattr(error, "example", None)
    monkeypatch.setattr(error, "detail", "")

    with pytest.raises(TypeError, match=rf"{error.__name__} needs an `example` .* no `detail`"):
        catalogue()


def test_only_classes_that_are_never_raised_are_left_out(app: FastAPI) -> None:
    assert app.openapi()
    left_out = {error.__name__ for error in subclasses_of(CrmError) if groups_only(error)}
    sources = [path.read_text() for path in Path(crm_api.__path__[0]).rglob("*.py")]

    assert {"NotFoundError", "SignatureError"} <= left_out
    assert left_out & set().union(*map(raised_or_called, sources)) == set()


def subclasses_of(error: type[CrmError]) -> set[type[CrmError]]:
    """Return all direct and indirect subclasses of an error class."""
    direct = set(error.__subclasses__())
    return direct.union(*map(subclasses_of, direct))


def raised_or_called(source: str) -> set[str]:
    """Return the names of all classes and functions that a module raises or calls."""
    nodes = list(ast.walk(ast.parse(source)))
    used = [node.exc for node in nodes if isinstance(node, ast.Raise)]
    used += [node.func for node in nodes if isinstance(node, ast.Call)]
    return {one.id for one in used if isinstance(one, ast.Name)} | {
        one.attr for one in used if isinstance(one, ast.Attribute)
    }


def test_each_code_is_one_problem(kinds_by_code: dict[str, ProblemKind]) -> None:
    assert len(kinds_by_code) > 130
    assert kinds_by_code["contact_exists"].title == "Contact already exists"
    assert kinds_by_code["contact_exists"].status == 409


@pytest.mark.parametrize("note", [fails_with("no_such_code"), shows(no_such_field=1)])
def test_unknown_name_in_a_route_note_is_an_error(note: dict[str, Any]) -> None:
    router = APIRouter()

    @router.get("/greeting", openapi_extra=note)
    async def greet() -> Greeting:
        """Greet."""
        return Greeting(text="Hello")

    application = FastAPI(routes=router.routes)
    routes = [one for one in router.routes if isinstance(one, APIRoute)]

    with pytest.raises((KeyError, ValueError), match="no_such"):
        enrich(application.openapi(), routes)


def test_notes_of_routes_are_not_in_the_document(document: dict[str, Any]) -> None:
    noted = [
        name
        for _, _, operation in operations(document)
        for name in operation
        if name.startswith("x-")
    ]

    assert noted == []

"""Every operation lists the problems that its caller may get, and every problem is listed."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from crm_api.routers.http.document_walk import operations
from crm_api.routers.http.openapi.document import enrich
from crm_api.routers.http.openapi.failures import ProblemKind, catalogue
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
    "service_busy",
    "signature_invalid",
    "unreadable_event",
    "upload_changed",
    "webhook_key_not_shown",
    "webhook_missing",
}
"""Codes that no caller of the API gets."""
UNLISTED_CODES = {"method_not_allowed", "internal_error"}
"""Codes of unsupported methods and of defects, which no operation lists."""


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
    """Return the codes that an operation lists, by status."""
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
    """Add the code of a new error class to ``fails_with`` of a route, or to the sets above."""
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
    assert "400" not in codes  # the operation has no body


def test_every_problem_document_is_complete(kinds_by_code: dict[str, ProblemKind]) -> None:
    for one in kinds_by_code.values():
        assert one.document["code"] == one.code
        assert one.meaning[0].isupper()
        assert one.meaning.endswith(".")
        assert one.detail.endswith("."), one.code
        if one.status == 422:
            assert isinstance(one.document["errors"], list)


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

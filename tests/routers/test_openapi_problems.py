"""Every operation tells the problems that its caller may meet, and every problem is told."""

from typing import Any

import pytest
from fastapi import FastAPI

from crm_api.routers.openapi.catalogue import ProblemKind, catalogue
from crm_api.routers.openapi.declared import OWN
from crm_api.routers.openapi.members import EXTRAS, POINTERS
from crm_api.routers.openapi.sayings import SAID
from crm_api.routers.openapi.walking import operations

OF_WORKERS_AND_COMMANDS = {
    "address_not_public",
    "archive_not_kept",
    "clock_not_followed",
    "incomplete_event",
    "line_unknown",
    "mail_not_sent",
    "openphone_busy",
    "openphone_down",
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
"""No caller of the API meets them."""
OF_NO_OPERATION = {"method_not_allowed", "internal_error"}
"""Of methods that there are not, and of bugs."""


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


@pytest.fixture(scope="module")
def known() -> dict[str, ProblemKind]:
    return {one.code: one for one in catalogue()}


def told(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, set[str]]:
    """Return the codes that an operation tells, by status."""
    found: dict[str, set[str]] = {}
    for status, answer in operation["responses"].items():
        if status >= "400" and "$ref" in answer:
            shared = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
            found[status] = set(shared["content"]["application/problem+json"]["examples"])
    return found


def test_every_problem_that_is_told_exists_with_this_status(
    document: dict[str, Any], known: dict[str, ProblemKind]
) -> None:
    for _, _, operation in operations(document):
        for status, codes in told(document, operation).items():
            assert {known[code].status for code in codes} == {int(status)}


def test_every_problem_is_told_by_an_operation(
    document: dict[str, Any], known: dict[str, ProblemKind]
) -> None:
    """A new error class belongs into ``openapi/declared``, or to the sets above."""
    reached = {
        code
        for _, _, operation in operations(document)
        for codes in told(document, operation).values()
        for code in codes
    }

    assert set(known) - reached == OF_WORKERS_AND_COMMANDS | OF_NO_OPERATION


def test_problems_of_starting_a_campaign(document: dict[str, Any]) -> None:
    start = document["paths"]["/v1/campaigns/{campaign_id}/start"]["post"]

    codes = told(document, start)

    assert codes["404"] == {"campaign_not_found", "not_found"}
    assert {"invalid_transition", "idempotency_key_reused"} <= codes["409"]
    assert {"empty_audience", "missing_identification"} <= codes["422"]
    assert codes["403"] == {"missing_scope"}
    assert "400" not in codes  # it has no body


def test_the_document_of_a_problem_is_whole(known: dict[str, ProblemKind]) -> None:
    for one in known.values():
        assert one.document["code"] == one.code
        assert one.meaning[0].isupper()
        assert one.meaning.endswith(".")
        assert one.detail.endswith("."), one.code
        if one.status == 422:
            assert isinstance(one.document["errors"], list)


def test_codes_are_one_problem_each(known: dict[str, ProblemKind]) -> None:
    assert len(known) > 130
    assert known["contact_exists"].title == "Contact already exists"
    assert known["contact_exists"].status == 409


def test_tables_name_only_what_there_is(
    document: dict[str, Any], known: dict[str, ProblemKind]
) -> None:
    names = {operation["operationId"] for _, _, operation in operations(document)}

    assert set(OWN) <= names
    assert {code for codes in OWN.values() for code in codes.split()} <= set(known)
    assert set(SAID) | set(POINTERS) | set(EXTRAS) <= set(known)

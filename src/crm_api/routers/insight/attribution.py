"""Routes of attribution rules and of credits.

A credit is the share of an outcome, such as a paid invoice, that belongs to one message. The
attribution rules say how an outcome is divided among messages.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.insight.attribution import preview, rules
from crm_api.domain.insight.attribution.runs import credit_rows
from crm_api.domain.insight.attribution.schemas import (
    AttributionPreviewRead,
    AttributionRulesCreate,
    AttributionRulesRead,
    OutcomeCreditsRead,
)
from crm_api.domain.insight.attribution.touches import read_outcomes
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.sales.outcomes.queries import read_outcome
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import Caller, Uow, require
from crm_api.routers.http.list_responses import Listed
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1", tags=["insight"])
Reader = Annotated[Caller, require(Scope.INSIGHT_READ)]
Writer = Annotated[Caller, require(Scope.INSIGHT_WRITE)]
RulesVersion = Annotated[
    int | None,
    Query(
        alias="rules",
        ge=1,
        le=2**31 - 1,
        description="The version of the attribution rules. The default is the current version.",
    ),
]


@router.post("/attribution-rules", status_code=201, openapi_extra=fails_with("no_window"))
async def add_attribution_rules(
    body: AttributionRulesCreate, uow: Uow, caller: Writer
) -> AttributionRulesRead:
    """Add a version of the attribution rules. This version becomes the current version.

    Attribution rules say how an outcome, such as a paid invoice, is divided among messages. Earlier
    versions are kept, so that you can still request figures that use an earlier version.
    """
    async with uow:
        added = await rules.add_rules(
            uow,
            model=body.model,
            windows=body.hours(),
            created_by=caller.name,
            now=await uow.database_now(),
        )
    return AttributionRulesRead.of(added)


@router.get(
    "/attribution-rules",
    response_model=PageRead[AttributionRulesRead],
    responses=csv_list_of(AttributionRulesRead),
)
async def list_attribution_rules(
    listed: Listed, _caller: Reader
) -> PageRead[AttributionRulesRead] | Response:
    """List the versions of the attribution rules, the newest first.

    A CSV response contains all versions.
    """

    async def read_page(
        uow: UnitOfWork, cursor: str | None, limit: int
    ) -> PageRead[AttributionRulesRead]:
        found = await rules.list_rules(uow, cursor=cursor, limit=limit)
        return PageRead.of(found, AttributionRulesRead.of)

    return await listed.respond(AttributionRulesRead, read_page, name="attribution-rules")


@router.post("/attribution-rules/preview", openapi_extra=fails_with("no_window"))
async def preview_attribution_rules(
    body: AttributionRulesCreate, uow: Uow, _caller: Writer
) -> AttributionPreviewRead:
    """Compare new attribution rules with the current version. Nothing is changed.

    Attribution rules say how an outcome, such as a paid invoice, is divided among messages. For
    each campaign, the response shows how many people and how much money are credited to it: under
    the current rules, and under the new rules.
    """
    async with uow:
        found = await preview.preview_rules(uow, body.rule_set(), now=await uow.database_now())
        uow.is_audited = True  # nothing was changed, so no audit entry is needed
    return AttributionPreviewRead.of(found)


@router.get(
    "/outcomes/{outcome_id}/credits",
    openapi_extra=fails_with("attribution_rules_not_found", "outcome_not_found"),
)
async def get_outcome_credits(
    outcome_id: UUID, uow: Uow, _caller: Reader, *, version: RulesVersion = None
) -> OutcomeCreditsRead:
    """Return the messages that are credited with an outcome, with the credit of each message.

    A credit is the share of the outcome that belongs to one message, computed for this request. A
    reversed outcome still has credits, but figures do not count the outcome.
    """
    async with uow:
        found = await read_outcome(uow, outcome_id=outcome_id)
        now = await uow.database_now()
        used = await rules.find_rules(uow, version=version)
        wanted = found.reverses_id or found.id
        [outcome] = await read_outcomes(uow.session, ids=[wanted], as_of=now, rules=[used])
    rows = credit_rows(outcome, used)
    return OutcomeCreditsRead.of(rows, outcome_id=outcome_id, version=used.version, now=now)

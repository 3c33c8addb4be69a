"""Many contacts in one request, with a result for each."""

from http import HTTPStatus
from typing import Annotated, Any, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.contacts import batch, opting_out
from crm_api.domain.contacts.batch_schemas import BatchRequest, Done, Outcome
from crm_api.domain.contacts.opting_out import OptedOut, OptOutMany
from crm_api.domain.contacts.schemas import ContactRead
from crm_api.routers import problems
from crm_api.routers.deps import Caller, State, Uow, require

router = APIRouter(prefix="/v1/contacts", tags=["contacts"])
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]

STATUS_OF = {
    Done.CREATED: HTTPStatus.CREATED,
    Done.UPDATED: HTTPStatus.OK,
    Done.DELETED: HTTPStatus.NO_CONTENT,
}


class ItemResult(BaseModel):
    """What became of an item, as its own request would have been answered.

    Attributes:
        contact: As it was after this item; null for a deleted one and a refused item.
        problem: RFC 9457, for a refused item; its pointers begin at the request.
    """

    index: int
    status: int
    contact: ContactRead | None = None
    problem: dict[str, Any] | None = None

    @classmethod
    def of(cls, index: int, outcome: Outcome, *, path: str) -> Self:
        """Shape a result."""
        if outcome.error is not None:
            problem = problems.document(outcome.error, path=path)
            return cls(index=index, status=problem["status"], problem=problem)
        contact = None
        if outcome.columns is not None:
            contact = ContactRead.of_columns(outcome.columns, outcome.flags)
        status = STATUS_OF[outcome.done] if outcome.done else HTTPStatus.OK
        return cls(index=index, status=status, contact=contact)


class BatchResult(BaseModel):
    """What became of the items, in their order."""

    succeeded: int
    failed: int
    results: list[ItemResult]


@router.post("/opt-out")
async def opt_out_many(body: OptOutMany, uow: Uow, state: State, caller: Writer) -> OptedOut:
    """Stop every text to up to 500 numbers, all or none; each leaves its entry."""
    async with uow:
        return await opting_out.opt_out_many(
            uow, body, actor=caller.name, now=clock.now(), secret=state.secret
        )


@router.post("/batch")
async def apply_batch(
    body: BatchRequest, uow: Uow, request: Request, state: State, _caller: Writer
) -> BatchResult:
    """Create, update, upsert and delete up to 500 contacts; a bad item fails alone.

    The answer is 200 also when every item was refused: each has its own status.
    """
    async with uow:
        outcomes = await batch.apply(uow, body.items, now=clock.now(), secret=state.secret)
    results = [
        ItemResult.of(index, outcome, path=request.url.path)
        for index, outcome in enumerate(outcomes)
    ]
    failed = sum(1 for one in outcomes if one.error is not None)
    return BatchResult(succeeded=len(results) - failed, failed=failed, results=results)

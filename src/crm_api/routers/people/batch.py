"""Routes that change many contacts in one request."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Self

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.dry_runs import DryRunRead, make_call
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import DocumentedModel
from crm_api.domain.people.batch import opt_outs, service
from crm_api.domain.people.batch.opt_outs import OptedOut, OptOutMany
from crm_api.domain.people.batch.schemas import BatchRequest, Done, Outcome
from crm_api.domain.people.contacts.schemas import ContactRead
from crm_api.routers.http import problems
from crm_api.routers.http.deps import Caller, State, Uow, require
from crm_api.routers.http.dry_run_calls import ThisCall
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/contacts", tags=["contacts"])
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]

PATH = f"{router.prefix}/batch"
STATUS_OF = {
    Done.CREATED: HTTPStatus.CREATED,
    Done.UPDATED: HTTPStatus.OK,
    Done.DELETED: HTTPStatus.NO_CONTENT,
}


class ItemResult(DocumentedModel):
    """The result of one item of a batch.

    Attributes:
        index: The position of the item in the request, from 0.
        status: The HTTP status that a separate request for this item would get.
        contact: The contact after this item; null if the item deleted the contact or was refused.
        problem: Why the item was refused, as an RFC 9457 problem; null if it was accepted. JSON
            pointers begin at the root of the batch request.
    """

    model_config = example(status=201)

    index: int
    status: int
    contact: ContactRead | None = None
    problem: dict[str, Any] | None = None

    @classmethod
    def of(cls, index: int, outcome: Outcome, *, path: str) -> Self:
        """Build the result of the item at the position ``index`` in the request."""
        if outcome.error is not None:
            problem = problems.document(outcome.error, path=path)
            return cls(index=index, status=problem["status"], contact=None, problem=problem)
        contact = None
        if outcome.columns is not None:
            contact = ContactRead.of_columns(outcome.columns, outcome.flags)
        status = STATUS_OF[outcome.done] if outcome.done else HTTPStatus.OK
        return cls(index=index, status=status, contact=contact, problem=None)


class BatchResult(DryRunRead):
    """The results of a batch, in the order of its items.

    In a dry run, `contact` is null if the contact would be created, because it has no id yet.

    Attributes:
        succeeded: The number of items that succeeded.
        failed: The number of items that failed.
        results: The result of each item, in the order of the request.
    """

    model_config = example(token=None, succeeded=1)

    succeeded: int
    failed: int
    results: list[ItemResult]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], *, path: str) -> Self:
        """Build the response to a batch: one result for each item, in the order of the request."""
        results = [
            ItemResult.of(index, outcome, path=path) for index, outcome in enumerate(outcomes)
        ]
        failed = sum(1 for one in outcomes if one.error is not None)
        counts = dict.fromkeys((done.value for done in Done), 0) | {"failed": failed}
        for one in outcomes:
            if one.done is not None:
                counts[one.done.value] += 1
        return cls(succeeded=len(results) - failed, failed=failed, results=results, counts=counts)

    def without_new_ids(self) -> Self:
        """Return the response to a dry run, without the contacts that the request would create.

        After a dry run, such a contact does not exist. So ``contact`` is None in its result.
        """
        results = [
            one.model_copy(update={"contact": None}) if one.status == HTTPStatus.CREATED else one
            for one in self.results
        ]
        return self.model_copy(update={"results": results})


@router.post(
    "/opt-out", response_model_exclude_unset=True, openapi_extra=fails_with("unknown_to_opt_out")
)
async def opt_out_many(
    body: OptOutMany, uow: Uow, state: State, call: ThisCall, caller: Writer
) -> OptedOut:
    """Opt out up to 500 phone numbers. If there is an error, no number is opted out.

    Each number gets its own entry in the consent history.
    """

    async def act() -> OptedOut:
        return await opt_outs.opt_out_many(
            uow, body, actor=caller.name, now=await uow.database_now(), secret=state.secret
        )

    async with uow:
        return await make_call(uow, call.by(caller), body, act)


@router.post("/batch", response_model_exclude_unset=True, openapi_extra=fails_with("batch_raced"))
async def apply_batch(
    body: BatchRequest, uow: Uow, state: State, call: ThisCall, caller: Writer
) -> BatchResult:
    """Create, update, upsert and delete up to 500 contacts in one request.

    An invalid item does not stop the other items. The response has the status 200 even if every
    item was refused. Each item has its own status.
    """

    async def act() -> BatchResult:
        outcomes = await service.apply(
            uow, body.items, now=await uow.database_now(), secret=state.secret
        )
        return BatchResult.of(outcomes, path=PATH)

    async with uow:
        answer = await make_call(
            uow,
            call.by(caller),
            body,
            act,
            basis=lambda read: [one.status for one in read.results],
        )
    return answer.without_new_ids() if body.dry_run else answer

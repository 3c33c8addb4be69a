"""Request, list and cancel validation runs, and read line types."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.lists import service as lists
from crm_api.domain.people.models.phone_validation import PhoneValidation
from crm_api.domain.people.phone_validation import queries
from crm_api.domain.people.phone_validation.errors import (
    NobodyToValidateError,
    PhoneValidationEndedError,
    PhoneValidationNotFoundError,
)
from crm_api.domain.people.phone_validation.schemas import PhoneValidationCreate
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

VALIDATE = Job(name=JobName.VALIDATE_PHONES)


async def request_run(
    uow: UnitOfWork, body: PhoneValidationCreate, *, now: datetime
) -> PhoneValidation:
    """Create a run that validates the numbers of a list or of contacts, and request its job.

    Raises:
        ListNotFoundError: No list has this id.
        NobodyToValidateError: The list is empty, or none of the contacts exists.
    """
    people: list[UUID] | None = None
    if body.list_id is not None:
        total = (await lists.get_list(uow, list_id=body.list_id)).contact_count
    else:
        people = await queries.find_people(uow.session, contact_ids=body.contact_ids or [])
        total = len(people)
    if not total:
        raise NobodyToValidateError(
            "The list has no contacts. Add contacts to it, or name another list."
            if body.list_id
            else "No id in contact_ids belongs to a contact. Send ids of existing contacts."
        )
    run = await queries.insert_run(
        uow.session,
        values={
            "list_id": body.list_id,
            "contact_ids": people,
            "total": total,
            "created_at": now,
        },
    )
    uow.after_commit(VALIDATE)
    return run


async def read_line_types(uow: UnitOfWork, *, phones: Sequence[str]) -> dict[str, str]:
    """Return the stored line type of each number; numbers without one are left out."""
    return await queries.fetch_line_types(uow.session, phones=phones) if phones else {}


async def get_run(uow: UnitOfWork, *, run_id: UUID) -> PhoneValidation:
    """Return a validation run.

    Raises:
        PhoneValidationNotFoundError: No run has this id.
    """
    run = await queries.find_run(uow.session, run_id=run_id)
    if run is None:
        raise PhoneValidationNotFoundError("No phone validation has this id.")
    return run


async def list_runs(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[PhoneValidation]:
    """Return a page of validation runs, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("phone_validations")
    after = cursors.read(cursor)
    rows = await queries.fetch_runs(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def cancel_run(uow: UnitOfWork, *, run_id: UUID, now: datetime) -> PhoneValidation:
    """Cancel a run and request the job, so that the next run begins at once.

    The line types that the cancelled run found stay stored.

    Raises:
        PhoneValidationNotFoundError: No run has this id.
        PhoneValidationEndedError: The run has ended.
    """
    if await queries.cancel_run(uow.session, run_id=run_id, now=now):
        uow.after_commit(VALIDATE)
        return await get_run(uow, run_id=run_id)
    run = await get_run(uow, run_id=run_id)
    raise PhoneValidationEndedError(
        f"This run has ended with the status {run.status}, so it cannot be cancelled."
    )

"""Runs of the validation: asked for, watched, cancelled."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.lists import service as lists
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.phone_validation import queries
from crm_api.domain.phone_validation.errors import (
    NobodyToValidateError,
    PhoneValidationEndedError,
    PhoneValidationNotFoundError,
)
from crm_api.domain.phone_validation.models import PhoneValidation
from crm_api.domain.phone_validation.schemas import PhoneValidationCreate
from crm_api.jobs import Job, JobName

VALIDATE = Job(name=JobName.VALIDATE_PHONES)


async def request(
    uow: UnitOfWork, body: PhoneValidationCreate, *, now: datetime
) -> PhoneValidation:
    """Store a run over the numbers of a list or of contacts; asks for ``validate_phones``.

    Raises:
        ListNotFoundError: There is no such list.
        NobodyToValidateError: Nobody is on it, or none of the contacts exists.
    """
    people: list[UUID] | None = None
    if body.list_id is not None:
        total = (await lists.get(uow, list_id=body.list_id)).contact_count
    else:
        people = await queries.find_people(uow.session, contact_ids=body.contact_ids or [])
        total = len(people)
    if not total:
        raise NobodyToValidateError(
            "The list is empty." if body.list_id else "None of these contacts exists."
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


async def line_types(uow: UnitOfWork, *, phones: Sequence[str]) -> dict[str, str]:
    """Return what kind of line each of these numbers is, where that is known."""
    return await queries.line_types(uow.session, phones=phones) if phones else {}


async def get(uow: UnitOfWork, *, run_id: UUID) -> PhoneValidation:
    """Fetch a run.

    Raises:
        PhoneValidationNotFoundError: No run has this id.
    """
    run = await queries.get(uow.session, run_id=run_id)
    if run is None:
        raise PhoneValidationNotFoundError("No phone validation has this id.")
    return run


async def list_runs(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[PhoneValidation]:
    """List runs, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("phone_validations")
    after = cursors.read(cursor)
    rows = await queries.list_runs(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def cancel(uow: UnitOfWork, *, run_id: UUID, now: datetime) -> PhoneValidation:
    """End a run where it stands; what it learned stays. The next one may begin at once.

    Raises:
        PhoneValidationNotFoundError: No run has this id.
        PhoneValidationEndedError: It has ended.
    """
    if await queries.cancel(uow.session, run_id=run_id, now=now):
        uow.after_commit(VALIDATE)
        return await get(uow, run_id=run_id)
    run = await get(uow, run_id=run_id)
    raise PhoneValidationEndedError(f"The run is {run.status}.")

"""Request, list and cancel validation runs, and read line types."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.people.lists import service as lists
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.phone_validation import (
    LineType,
    PhoneLookup,
    PhoneValidation,
    RunStatus,
)
from crm_api.domain.people.phone_validation.errors import (
    NobodyToValidateError,
    PhoneValidationEndedError,
    PhoneValidationNotFoundError,
)
from crm_api.domain.people.phone_validation.schemas import PhoneValidationCreate
from crm_api.platform.database import UnitOfWork, affected, get_or_raise
from crm_api.platform.jobs import Job, JobName

VALIDATE = Job(name=JobName.VALIDATE_PHONES)


async def request_run(
    uow: UnitOfWork, body: PhoneValidationCreate, *, now: datetime
) -> PhoneValidation:
    """Create a run that finds the line types of phone numbers, and request its job.

    Raises:
        ListNotFoundError: No list has this id.
        NobodyToValidateError: The list is empty, or no given id belongs to a contact.
    """
    people: list[UUID] | None = None
    if body.list_id is not None:
        total = (await lists.get_list(uow, list_id=body.list_id)).contact_count
    else:
        people = await _find_people(uow.session, contact_ids=body.contact_ids or [])
        total = len(people)
    if not total:
        raise NobodyToValidateError(
            "The list has no contacts. Add contacts to it, or name another list."
            if body.list_id
            else "No id in `contact_ids` belongs to a contact. Get ids from GET /v1/contacts."
        )
    statement = insert(PhoneValidation).values(
        list_id=body.list_id, contact_ids=people, total=total, created_at=now
    )
    run = (await uow.session.scalars(statement.returning(PhoneValidation))).one()
    uow.after_commit(VALIDATE)
    return run


async def _find_people(session: AsyncSession, *, contact_ids: Sequence[UUID]) -> list[UUID]:
    """Return the given ids that belong to a contact, each id once.

    The id of a merged duplicate is replaced by the id of the contact that it was merged into.
    """
    heads = select(func.coalesce(Contact.merged_into, Contact.id)).where(
        Contact.id == any_(bindparam("ids", list(contact_ids), ARRAY(Uuid())))
    )
    people = select(Contact.id).where(Contact.id.in_(heads), Contact.deleted_at.is_(None))
    return list(await session.scalars(people.order_by(Contact.id)))


async def read_line_types(uow: UnitOfWork, *, phones: Sequence[str]) -> dict[str, str]:
    """Return the stored line types by phone number; leave out numbers without a line type."""
    if not phones:
        return {}
    statement = select(PhoneLookup.phone, PhoneLookup.line_type).where(
        PhoneLookup.phone == any_(bindparam("phones", list(phones), ARRAY(Text()))),
        PhoneLookup.line_type != LineType.UNKNOWN,
    )
    return {row.phone: row.line_type for row in await uow.session.execute(statement)}


async def get_run(uow: UnitOfWork, *, run_id: UUID) -> PhoneValidation:
    """Return a validation run.

    Raises:
        PhoneValidationNotFoundError: No run has this id.
    """
    return await get_or_raise(uow.session, PhoneValidation, run_id, PhoneValidationNotFoundError)


async def list_runs(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[PhoneValidation]:
    """Return a page of validation runs, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    return await read_newest(
        uow.session,
        select(PhoneValidation),
        PhoneValidation.created_at,
        PhoneValidation.id,
        cursors=Cursors("phone_validations"),
        cursor=cursor,
        limit=limit,
    )


async def cancel_run(uow: UnitOfWork, *, run_id: UUID, now: datetime) -> PhoneValidation:
    """Cancel a validation run.

    This function also requests the validation job, so that the job begins the next run immediately.
    The line types that the cancelled run has found stay stored.

    Raises:
        PhoneValidationNotFoundError: No run has this id.
        PhoneValidationEndedError: The run has ended.
    """
    cancelled = (
        update(PhoneValidation)
        .where(
            PhoneValidation.id == run_id,
            PhoneValidation.status.in_([RunStatus.PENDING, RunStatus.RUNNING]),
        )
        .values(status=RunStatus.CANCELLED, finished_at=now, lease_token=None, lease_until=None)
    )
    if affected(await uow.session.execute(cancelled)):
        uow.after_commit(VALIDATE)
        return await get_run(uow, run_id=run_id)
    run = await get_run(uow, run_id=run_id)
    raise PhoneValidationEndedError(
        f"This run has ended with the status `{run.status}`, so it cannot be cancelled. Request a "
        "new run if you need one."
    )

"""Saved texts: checked as the texts of campaigns are, and copied into them."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns.template import check
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.templates import queries
from crm_api.domain.templates.errors import (
    InvalidTemplateError,
    TemplateExistsError,
    TemplateNotFoundError,
)
from crm_api.domain.templates.models import MessageTemplate
from crm_api.domain.templates.schemas import TemplateCreate, TemplateUpdate


async def create(uow: UnitOfWork, body: TemplateCreate, *, now: datetime) -> MessageTemplate:
    """Save a text.

    Raises:
        InvalidTemplateError: The text has faults.
        TemplateExistsError: The name is taken; ``template_id`` says by which.
    """
    _refuse_faults(body.body)
    made = await queries.insert_template(uow.session, name=body.name, body=body.body, now=now)
    if made is None:
        raise await _taken(uow, body.name)
    return made


async def get(uow: UnitOfWork, *, template_id: UUID) -> MessageTemplate:
    """Fetch a saved text.

    Raises:
        TemplateNotFoundError: There is none with this id.
    """
    found = await queries.find(uow.session, template_id=template_id)
    if found is None:
        raise TemplateNotFoundError(f"There is no template {template_id}.")
    return found


async def list_templates(
    uow: UnitOfWork, *, cursor: str | None, limit: int
) -> Page[MessageTemplate]:
    """List saved texts, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("templates")
    after = cursors.read(cursor)
    rows = list(await queries.list_templates(uow.session, after=after, limit=limit + 1))
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def update(
    uow: UnitOfWork, changes: TemplateUpdate, *, template_id: UUID, now: datetime
) -> MessageTemplate:
    """Change a saved text; campaigns that copied it keep what they have.

    Raises:
        TemplateNotFoundError: There is none with this id.
        InvalidTemplateError: The text has faults.
        TemplateExistsError: The name is taken; ``template_id`` says by which.
    """
    given = changes.model_dump(exclude_unset=True)
    if "body" in given:
        _refuse_faults(changes.body)
    if not given:
        return await get(uow, template_id=template_id)
    try:
        async with uow.session.begin_nested():
            changed = await queries.change(
                uow.session, template_id=template_id, values={**given, "updated_at": now}
            )
    except IntegrityError as error:
        raise await _taken(uow, changes.name) from error
    if changed is None:
        raise TemplateNotFoundError(f"There is no template {template_id}.")
    return changed


async def delete(uow: UnitOfWork, *, template_id: UUID) -> None:
    """Remove a saved text; campaigns that copied it keep what they have.

    Raises:
        TemplateNotFoundError: There is none with this id.
    """
    if not await queries.delete_template(uow.session, template_id=template_id):
        raise TemplateNotFoundError(f"There is no template {template_id}.")


async def find_bodies(uow: UnitOfWork, template_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Fetch the texts with these ids; those that do not exist are left out."""
    wanted = set(template_ids)
    return await queries.find_bodies(uow.session, template_ids=wanted) if wanted else {}


def _refuse_faults(body: str) -> None:
    problems = check(body, pointer="/body")
    if problems:
        raise InvalidTemplateError(problems)


async def _taken(uow: UnitOfWork, name: str) -> TemplateExistsError:
    holder = await queries.id_of_name(uow.session, name=name)
    return TemplateExistsError(
        "A template with this name exists; choose another name, or change that one.",
        template_id=str(holder),
    )

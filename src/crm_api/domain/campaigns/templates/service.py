"""Create, read, change and delete message templates. Bodies are checked before they are stored."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from crm_api.domain.campaigns.errors import (
    InvalidTemplateError,
    TemplateExistsError,
    TemplateNotFoundError,
)
from crm_api.domain.campaigns.templates.models import MessageTemplate
from crm_api.domain.campaigns.templates.schemas import TemplateCreate, TemplateUpdate
from crm_api.domain.campaigns.templates.template_text import find_template_faults
from crm_api.domain.campaigns.templates.versions import (
    Author,
    TemplateDetail,
    keep_version,
    load_template,
    load_templates,
)
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id


async def create_template(
    uow: UnitOfWork, body: TemplateCreate, *, author: Author, now: datetime
) -> TemplateDetail:
    """Store a new template, with its first version as a draft.

    Raises:
        InvalidTemplateError: The body has faults.
        TemplateExistsError: Another template has this name.
    """
    _refuse_faults(body.body)
    statement = (
        insert(MessageTemplate)
        .values(id=new_id(), **body.model_dump(), created_at=now, updated_at=now)
        .on_conflict_do_nothing(index_elements=["name"])
    )
    made: MessageTemplate | None = await uow.session.scalar(statement.returning(MessageTemplate))
    if made is None:
        raise await _name_taken(uow, body.name)
    await keep_version(uow, made, author=author, now=now)
    return await load_template(uow, made)


async def read_template(uow: UnitOfWork, *, template_id: UUID) -> TemplateDetail:
    """Return the template with this id.

    Raises:
        TemplateNotFoundError: The template does not exist.
    """
    statement = select(MessageTemplate).where(MessageTemplate.id == template_id)
    found = await uow.session.scalar(statement, execution_options={"populate_existing": True})
    if found is None:
        raise TemplateNotFoundError(template_id)
    return await load_template(uow, found)


async def list_templates(
    uow: UnitOfWork, *, cursor: str | None, limit: int
) -> Page[TemplateDetail]:
    """Return a page of templates, newest first.

    Raises:
        InvalidCursorError: The cursor is from another listing.
    """
    page = await read_newest(
        uow.session,
        select(MessageTemplate),
        MessageTemplate.created_at,
        MessageTemplate.id,
        cursors=Cursors("templates"),
        cursor=cursor,
        limit=limit,
    )
    return Page(await load_templates(uow, page.data), page.next_cursor)


async def update_template(
    uow: UnitOfWork, changes: TemplateUpdate, *, template_id: UUID, author: Author, now: datetime
) -> TemplateDetail:
    """Change a template. A changed body becomes a new version, which is a draft.

    Campaigns that copied the body do not change.

    Raises:
        TemplateNotFoundError: The template does not exist.
        InvalidTemplateError: The body has faults.
        TemplateExistsError: Another template has the new name.
    """
    given = changes.model_dump(exclude_unset=True)
    if "body" in given:
        _refuse_faults(changes.body)
    if not given:
        return await read_template(uow, template_id=template_id)
    try:
        async with uow.session.begin_nested():
            changed: MessageTemplate | None = await uow.session.scalar(
                update(MessageTemplate)
                .where(MessageTemplate.id == template_id)
                .values({**given, "updated_at": now})
                .returning(MessageTemplate),
                execution_options={"populate_existing": True},
            )
    except IntegrityError as error:
        raise await _name_taken(uow, changes.name) from error
    if changed is None:
        raise TemplateNotFoundError(template_id)
    await keep_version(uow, changed, author=author if "body" in given else None, now=now)
    return await load_template(uow, changed)


async def delete_template(uow: UnitOfWork, *, template_id: UUID) -> None:
    """Delete a template. Campaigns that copied its body do not change.

    Raises:
        TemplateNotFoundError: The template does not exist.
    """
    statement = delete(MessageTemplate).where(MessageTemplate.id == template_id)
    if await uow.session.scalar(statement.returning(MessageTemplate.id)) is None:
        raise TemplateNotFoundError(template_id)


def _refuse_faults(body: str) -> None:
    problems = find_template_faults(body, pointer="/body")
    if problems:
        raise InvalidTemplateError(problems)


async def _name_taken(uow: UnitOfWork, name: str) -> TemplateExistsError:
    holder = await uow.session.scalar(
        select(MessageTemplate.id).where(MessageTemplate.name == name)
    )
    return TemplateExistsError(
        "Another template already has this name. Choose another name, or change the template "
        "whose id is in `template_id`.",
        template_id=str(holder),
    )

"""Create, change, archive and read custom fields."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.people.custom_fields.attribute_checks import Definition, Definitions
from crm_api.domain.people.custom_fields.errors import (
    CustomFieldArchivedError,
    CustomFieldExistsError,
    CustomFieldNotFoundError,
    InvalidChoicesError,
    TooManyCustomFieldsError,
)
from crm_api.domain.people.custom_fields.schemas import (
    CustomFieldCreate,
    CustomFieldFitRead,
    CustomFieldUpdate,
)
from crm_api.domain.people.custom_fields.stored_values import count_fit, refuse_misfits
from crm_api.domain.people.models.contacts import CustomField, FieldType
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

MOST_FIELDS = 200
_IS_ACTIVE = CustomField.archived_at.is_(None)


async def definitions(uow: UnitOfWork) -> Definitions:
    """Read the custom fields that are not archived, by name, to check attributes against them."""
    statement = select(
        CustomField.name, CustomField.type, CustomField.choices, CustomField.required
    ).where(_IS_ACTIVE)
    return Definitions(
        {
            name: Definition(
                name=name, type=FieldType(kind), choices=tuple(choices), required=required
            )
            for name, kind, choices, required in await uow.session.execute(statement)
        }
    )


async def create_field(uow: UnitOfWork, body: CustomFieldCreate, *, now: datetime) -> CustomField:
    """Create a custom field; a job then converts the values that contacts already have.

    Raises:
        InvalidChoicesError: The type ``choice`` has no choices, or another type has choices.
        CustomFieldExistsError: Another field has this name; ``custom_field_id`` is its id.
        TooManyCustomFieldsError: There are already ``MOST_FIELDS`` fields.
        ValuesDoNotFitError: Some contacts have a value that does not fit.
    """
    _check_choices(body.type, body.choices)
    values = {
        **body.model_dump(),
        "id": new_id(),
        "label": body.label or body.name,
        "created_at": now,
        "updated_at": now,
    }
    statement = (
        insert(CustomField)
        .values(values)
        .on_conflict_do_nothing(index_elements=["name"], index_where=_IS_ACTIVE)
    )
    made: CustomField | None = await uow.session.scalar(statement.returning(CustomField))
    if made is None:
        raise await _taken(uow, body.name)
    counted = select(func.count()).select_from(CustomField).where(_IS_ACTIVE)
    if (await uow.session.scalar(counted) or 0) > MOST_FIELDS:
        raise TooManyCustomFieldsError(
            f"There are already {MOST_FIELDS} custom fields, the largest allowed number. Archive "
            "one before you create another."
        )
    await refuse_misfits(uow, name=body.name, kind=body.type, choices=body.choices)
    uow.after_commit(Job(name=JobName.APPLY_CUSTOM_FIELDS))
    return made


async def try_create(uow: UnitOfWork, body: CustomFieldCreate) -> CustomFieldFitRead:
    """Do a dry run of ``create_field``: count the contacts whose values fit the new field.

    Raises:
        InvalidChoicesError: A field of the type ``choice`` has no choices, or a field of another
            type has choices.
        CustomFieldExistsError: Another field has this name; ``custom_field_id`` is its id.
    """
    _check_choices(body.type, body.choices)
    if await _id_of_name(uow, name=body.name) is not None:
        raise await _taken(uow, body.name)
    return await count_fit(uow, name=body.name, kind=body.type, choices=body.choices)


async def get_field(uow: UnitOfWork, *, field_id: UUID) -> CustomField:
    """Return a custom field, even if it is archived.

    Raises:
        CustomFieldNotFoundError: No custom field has this id.
    """
    return await get_or_raise(uow.session, CustomField, field_id, CustomFieldNotFoundError)


async def list_fields(
    uow: UnitOfWork, *, archived: bool, cursor: str | None, limit: int
) -> Page[CustomField]:
    """Return a page of custom fields, newest first.

    If ``archived`` is True, only archived fields are listed; otherwise only the fields that are not
    archived.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    statement = select(CustomField).where(~_IS_ACTIVE if archived else _IS_ACTIVE)
    cursors = Cursors("custom_fields", archived=archived)
    return await read_newest(
        uow.session,
        statement,
        CustomField.created_at,
        CustomField.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )


async def update_field(
    uow: UnitOfWork, changes: CustomFieldUpdate, *, field_id: UUID, now: datetime
) -> CustomField:
    """Change a field. The values that contacts already have must fit its new type and choices.

    Raises:
        CustomFieldNotFoundError: No custom field has this id.
        CustomFieldArchivedError: The field is archived.
        InvalidChoicesError: The type ``choice`` has no choices, or another type has choices.
        ValuesDoNotFitError: Some contacts have a value that does not fit.
    """
    found = await _lock_active(uow, field_id=field_id)
    values = _changes(found, changes)
    if {"type", "choices"} & set(values):
        kind, choices = _after(found, values)
        await refuse_misfits(uow, name=found.name, kind=kind, choices=choices)
        values |= {"applied_at": None, "applied_through": None}
        uow.after_commit(Job(name=JobName.APPLY_CUSTOM_FIELDS))
    if values:
        await _change(uow, field_id, values | {"updated_at": now})
    return await get_field(uow, field_id=field_id)


async def try_update(
    uow: UnitOfWork, changes: CustomFieldUpdate, *, field_id: UUID
) -> CustomFieldFitRead:
    """Do a dry run of ``update_field``: count the contacts whose values fit the changed field.

    Raises:
        CustomFieldNotFoundError: No custom field has this id.
        CustomFieldArchivedError: The field is archived.
        InvalidChoicesError: A field of the type ``choice`` has no choices, or a field of another
            type has choices.
    """
    found = await _lock_active(uow, field_id=field_id)
    kind, choices = _after(found, _changes(found, changes))
    return await count_fit(uow, name=found.name, kind=kind, choices=choices)


async def archive(uow: UnitOfWork, *, field_id: UUID, now: datetime) -> None:
    """Archive a field: contacts keep their values, and new values are no longer checked.

    If the field is already archived, nothing changes.

    Raises:
        CustomFieldNotFoundError: No custom field has this id.
    """
    found = await _lock(uow, field_id=field_id)
    if found.archived_at is None:
        await _change(uow, field_id, {"archived_at": now, "updated_at": now})


async def _lock(uow: UnitOfWork, *, field_id: UUID) -> CustomField:
    statement = select(CustomField).where(CustomField.id == field_id).with_for_update()
    found = await uow.session.scalar(statement, execution_options={"populate_existing": True})
    if found is None:
        raise CustomFieldNotFoundError
    return found


async def _lock_active(uow: UnitOfWork, *, field_id: UUID) -> CustomField:
    found = await _lock(uow, field_id=field_id)
    if found.archived_at is not None:
        raise CustomFieldArchivedError
    return found


async def _change(uow: UnitOfWork, field_id: UUID, values: dict[str, Any]) -> None:
    await uow.session.execute(update(CustomField).where(CustomField.id == field_id).values(values))


def _changes(found: CustomField, changes: CustomFieldUpdate) -> dict[str, Any]:
    """Return the changed columns of a custom field, with their new values.

    The choices are removed if the type is not ``choice`` and the request gives no choices.

    Raises:
        InvalidChoicesError: A field of the type ``choice`` has no choices, or a field of another
            type has choices.
    """
    values = changes.model_dump(exclude_unset=True)
    kind = FieldType(values.get("type", found.type))
    if kind is not FieldType.CHOICE and not values.get("choices"):
        values["choices"] = []
    _check_choices(kind, values.get("choices", found.choices))
    return {name: value for name, value in values.items() if getattr(found, name) != value}


def _after(found: CustomField, values: dict[str, Any]) -> tuple[FieldType, list[str]]:
    return FieldType(values.get("type", found.type)), values.get("choices", found.choices)


def _check_choices(kind: FieldType, choices: Sequence[str]) -> None:
    if kind is FieldType.CHOICE and not choices:
        raise InvalidChoicesError
    if kind is not FieldType.CHOICE and choices:
        raise InvalidChoicesError(
            f"A field of the type `{kind}` cannot have choices. Leave out `choices`."
        )


async def _taken(uow: UnitOfWork, name: str) -> CustomFieldExistsError:
    holder = await _id_of_name(uow, name=name)
    return CustomFieldExistsError(
        "Another custom field has this name. Change that field, or choose another name.",
        custom_field_id=str(holder),
    )


async def _id_of_name(uow: UnitOfWork, *, name: str) -> UUID | None:
    return await uow.session.scalar(
        select(CustomField.id).where(CustomField.name == name, _IS_ACTIVE)
    )

"""Custom fields: defined, changed, archived, and what stands now."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.custom_fields import queries
from crm_api.domain.custom_fields.definitions import Definition, Definitions
from crm_api.domain.custom_fields.errors import (
    CustomFieldArchivedError,
    CustomFieldExistsError,
    CustomFieldNotFoundError,
    InvalidChoicesError,
    TooManyCustomFieldsError,
    ValuesDoNotFitError,
)
from crm_api.domain.custom_fields.models import CustomField, FieldType
from crm_api.domain.custom_fields.schemas import (
    CustomFieldCreate,
    CustomFieldUpdate,
    Fit,
    Misfit,
)
from crm_api.domain.custom_fields.values import MisfitError, normalise
from crm_api.domain.paging import Cursors, Page
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName

MOST_FIELDS = 200
CHUNK_CONTACTS = 5_000
_FIRST = UUID(int=0)
_MOST_EXAMPLES = 10


async def definitions(uow: UnitOfWork) -> Definitions:
    """Read what stands: one small statement, once a request or a chunk of a file."""
    rows = await queries.definitions(uow.session)
    return Definitions(
        {
            name: Definition(
                name=name, type=FieldType(kind), choices=tuple(choices), required=required
            )
            for name, kind, choices, required in rows
        }
    )


async def types(uow: UnitOfWork) -> dict[str, FieldType]:
    """Read the type of every attribute that has one."""
    found = await definitions(uow)
    return {name: wanted.type for name, wanted in found.by_name.items()}


async def create(uow: UnitOfWork, body: CustomFieldCreate, *, now: datetime) -> CustomField:
    """Define a field; asks for the values that are there to be brought into its writing.

    Raises:
        InvalidChoicesError: A choice field without choices, or choices without one.
        CustomFieldExistsError: The name is taken; ``custom_field_id`` says by which.
        TooManyCustomFieldsError: There are as many as may be.
        ValuesDoNotFitError: Contacts have values that the type cannot take.
    """
    _check_choices(body.type, body.choices)
    made = await queries.insert_field(
        uow.session,
        values={
            **body.model_dump(),
            "id": new_id(),
            "label": body.label or body.name,
            "created_at": now,
            "updated_at": now,
        },
    )
    if made is None:
        raise await _taken(uow, body.name)
    if await queries.count(uow.session) > MOST_FIELDS:
        raise TooManyCustomFieldsError(
            f"At most {MOST_FIELDS} custom fields are kept; archive one that is not needed."
        )
    await _refuse_misfits(uow, name=body.name, kind=body.type, choices=body.choices)
    uow.after_commit(Job(name=JobName.APPLY_CUSTOM_FIELDS))
    return made


async def try_create(uow: UnitOfWork, body: CustomFieldCreate) -> Fit:
    """Tell what a definition would do to the values that are there; nothing is stored.

    Raises:
        InvalidChoicesError: A choice field without choices, or choices without one.
        CustomFieldExistsError: The name is taken; ``custom_field_id`` says by which.
    """
    _check_choices(body.type, body.choices)
    if await queries.id_of_name(uow.session, name=body.name) is not None:
        raise await _taken(uow, body.name)
    return await _fit(uow, name=body.name, kind=body.type, choices=body.choices)


async def get(uow: UnitOfWork, *, field_id: UUID) -> CustomField:
    """Fetch a field, also an archived one.

    Raises:
        CustomFieldNotFoundError: There is none with this id.
    """
    found = await queries.find(uow.session, field_id=field_id)
    if found is None:
        raise CustomFieldNotFoundError("No custom field has this id.")
    return found


async def list_fields(
    uow: UnitOfWork, *, archived: bool, cursor: str | None, limit: int
) -> Page[CustomField]:
    """List fields that stand, or those that are archived, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("custom_fields", archived=archived)
    after = cursors.read(cursor)
    rows = list(
        await queries.list_fields(uow.session, archived=archived, after=after, limit=limit + 1)
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def update(
    uow: UnitOfWork, changes: CustomFieldUpdate, *, field_id: UUID, now: datetime
) -> CustomField:
    """Change a field; another type or other choices must take the values that are there.

    Raises:
        CustomFieldNotFoundError: There is none with this id.
        CustomFieldArchivedError: It is archived.
        InvalidChoicesError: A choice field without choices, or choices without one.
        ValuesDoNotFitError: Contacts have values that the type cannot take.
    """
    found = await _lock(uow, field_id=field_id)
    values = _changes(found, changes)
    if {"type", "choices"} & set(values):
        kind, choices = _after(found, values)
        await _refuse_misfits(uow, name=found.name, kind=kind, choices=choices)
        values |= {"applied_at": None, "applied_through": None}
        uow.after_commit(Job(name=JobName.APPLY_CUSTOM_FIELDS))
    if values:
        await queries.change(uow.session, field_id=field_id, values=values | {"updated_at": now})
    return await get(uow, field_id=field_id)


async def try_update(uow: UnitOfWork, changes: CustomFieldUpdate, *, field_id: UUID) -> Fit:
    """Tell what a change would do to the values that are there; nothing is stored.

    Raises:
        CustomFieldNotFoundError: There is none with this id.
        CustomFieldArchivedError: It is archived.
        InvalidChoicesError: A choice field without choices, or choices without one.
    """
    found = await _lock(uow, field_id=field_id)
    kind, choices = _after(found, _changes(found, changes))
    return await _fit(uow, name=found.name, kind=kind, choices=choices)


async def archive(uow: UnitOfWork, *, field_id: UUID, now: datetime) -> None:
    """Let an attribute be free again; its values stay. Once more changes nothing.

    Raises:
        CustomFieldNotFoundError: There is none with this id.
    """
    found = await queries.lock(uow.session, field_id=field_id)
    if found is None:
        raise CustomFieldNotFoundError("No custom field has this id.")
    if found.archived_at is None:
        values = {"archived_at": now, "updated_at": now}
        await queries.change(uow.session, field_id=field_id, values=values)


async def apply_chunk(uow: UnitOfWork, *, now: datetime, limit: int = CHUNK_CONTACTS) -> bool:
    """Bring the next contacts' older values into their field's writing; misfits stay as they are.

    Returns:
        False when no field waits for it.
    """
    found = await queries.waiting(uow.session)
    if found is None:
        return False
    after = found.applied_through or _FIRST
    rows = await queries.chunk(uow.session, name=found.name, after=after, limit=limit)
    stored = [(row.id, row.value) for row in rows if row.has_value]
    rewritten = _rewritten(stored, FieldType(found.type), found.choices)
    if rewritten:
        await queries.rewrite(uow.session, name=found.name, rows=rewritten)
    values: dict[str, Any] = {"applied_at": now} if len(rows) < limit else {}
    if rows:
        values["applied_through"] = rows[-1].id
    await queries.change(uow.session, field_id=found.id, values=values)
    return True


def _rewritten(
    stored: Sequence[tuple[UUID, Any]], kind: FieldType, choices: Sequence[str]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for contact_id, value in stored:
        try:
            normal = normalise(value, kind, choices)
        except MisfitError:
            continue
        if not _same(normal, value) or value is None:
            rows.append({"id": contact_id, "old": value, "normal": normal})
    return rows


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - JSON values
    """Whether JSON writes both alike; to Python ``1``, ``1.0`` and ``True`` are one."""
    return type(one) is type(other) and one == other


async def _lock(uow: UnitOfWork, *, field_id: UUID) -> CustomField:
    found = await queries.lock(uow.session, field_id=field_id)
    if found is None:
        raise CustomFieldNotFoundError("No custom field has this id.")
    if found.archived_at is not None:
        raise CustomFieldArchivedError("It was deleted; define a field of this name anew.")
    return found


def _changes(found: CustomField, changes: CustomFieldUpdate) -> dict[str, Any]:
    """Return the columns that change; choices go with a type that has none.

    Raises:
        InvalidChoicesError: A choice field without choices, or choices without one.
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
        raise InvalidChoicesError("Name the choices of a choice field.")
    if kind is not FieldType.CHOICE and choices:
        raise InvalidChoicesError(f"A field of type {kind} has no choices; leave them out.")


async def _refuse_misfits(
    uow: UnitOfWork, *, name: str, kind: FieldType, choices: Sequence[str]
) -> None:
    fit = await _fit(uow, name=name, kind=kind, choices=choices)
    if fit.misfits:
        raise ValuesDoNotFitError(
            f"{fit.misfits:,} contacts have a value of {name} that is no {kind}; change these "
            "first. `?dry_run=true` shows some.",
            misfits=fit.misfits,
        )


async def _fit(uow: UnitOfWork, *, name: str, kind: FieldType, choices: Sequence[str]) -> Fit:
    fit = Fit()
    async for rows in queries.stored_values(uow.session, name=name):
        for row in rows:
            try:
                normal = normalise(row.value, kind, choices)
            except MisfitError as error:
                fit.misfits += row.contacts
                if len(fit.examples) < _MOST_EXAMPLES:
                    misfit = Misfit(
                        contact_id=UUID(row.contact_id), value=row.value, detail=str(error)
                    )
                    fit.examples.append(misfit)
            else:
                if _same(normal, row.value):
                    fit.fitting += row.contacts
                else:
                    fit.rewritten += row.contacts
    return fit


async def _taken(uow: UnitOfWork, name: str) -> CustomFieldExistsError:
    holder = await queries.id_of_name(uow.session, name=name)
    return CustomFieldExistsError(
        "A custom field with this name exists; change that one.", custom_field_id=str(holder)
    )

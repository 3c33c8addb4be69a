"""Define, change, archive and read custom fields, and convert older values to them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.custom_fields import queries
from crm_api.domain.people.custom_fields.definitions import Definition, Definitions
from crm_api.domain.people.custom_fields.errors import (
    CustomFieldArchivedError,
    CustomFieldExistsError,
    CustomFieldNotFoundError,
    InvalidChoicesError,
    TooManyCustomFieldsError,
    ValuesDoNotFitError,
)
from crm_api.domain.people.custom_fields.schemas import (
    CustomFieldCreate,
    CustomFieldUpdate,
    Fit,
    Misfit,
)
from crm_api.domain.people.custom_fields.values import MisfitError, normalise
from crm_api.domain.people.models.custom_fields import CustomField, FieldType
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

MOST_FIELDS = 200
CHUNK_CONTACTS = 5_000
_FIRST = UUID(int=0)
_MOST_EXAMPLES = 10


async def definitions(uow: UnitOfWork) -> Definitions:
    """Read the active definitions: one small statement per request or per chunk of a file."""
    rows = await queries.fetch_definitions(uow.session)
    return Definitions(
        {
            row.name: Definition(
                name=row.name,
                type=FieldType(row.type),
                choices=tuple(row.choices),
                required=row.required,
            )
            for row in rows
        }
    )


async def types(uow: UnitOfWork) -> dict[str, FieldType]:
    """Return the type of every attribute that has a definition."""
    found = await definitions(uow)
    return {name: wanted.type for name, wanted in found.by_name.items()}


async def create_field(uow: UnitOfWork, body: CustomFieldCreate, *, now: datetime) -> CustomField:
    """Define a field, and request the job that converts the stored values to its type.

    Raises:
        InvalidChoicesError: A choice field has no choices, or another field has some.
        CustomFieldExistsError: The name is taken; ``custom_field_id`` is the other field.
        TooManyCustomFieldsError: The limit of custom fields is reached.
        ValuesDoNotFitError: Contacts have values that do not fit the type.
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
    if await queries.count_fields(uow.session) > MOST_FIELDS:
        raise TooManyCustomFieldsError(
            f"At most {MOST_FIELDS} custom fields are kept; archive one that is not needed."
        )
    await _refuse_misfits(uow, name=body.name, kind=body.type, choices=body.choices)
    uow.after_commit(Job(name=JobName.APPLY_CUSTOM_FIELDS))
    return made


async def try_create(uow: UnitOfWork, body: CustomFieldCreate) -> Fit:
    """Count what a definition would do to the stored values, without storing it.

    Raises:
        InvalidChoicesError: A choice field has no choices, or another field has some.
        CustomFieldExistsError: The name is taken; ``custom_field_id`` is the other field.
    """
    _check_choices(body.type, body.choices)
    if await queries.id_of_name(uow.session, name=body.name) is not None:
        raise await _taken(uow, body.name)
    return await _fit(uow, name=body.name, kind=body.type, choices=body.choices)


async def get_field(uow: UnitOfWork, *, field_id: UUID) -> CustomField:
    """Fetch a field, also an archived one.

    Raises:
        CustomFieldNotFoundError: No custom field has this id.
    """
    found = await queries.find_field(uow.session, field_id=field_id)
    if found is None:
        raise CustomFieldNotFoundError("No custom field has this id.")
    return found


async def list_fields(
    uow: UnitOfWork, *, archived: bool, cursor: str | None, limit: int
) -> Page[CustomField]:
    """List active or archived fields, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("custom_fields", archived=archived)
    after = cursors.read(cursor)
    rows = list(
        await queries.list_fields(uow.session, archived=archived, after=after, limit=limit + 1)
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def update_field(
    uow: UnitOfWork, changes: CustomFieldUpdate, *, field_id: UUID, now: datetime
) -> CustomField:
    """Change a field; stored values must fit a new type or new choices.

    Raises:
        CustomFieldNotFoundError: No custom field has this id.
        CustomFieldArchivedError: It is archived.
        InvalidChoicesError: A choice field has no choices, or another field has some.
        ValuesDoNotFitError: Contacts have values that do not fit the type.
    """
    found = await _lock(uow, field_id=field_id)
    values = _changes(found, changes)
    if {"type", "choices"} & set(values):
        kind, choices = _after(found, values)
        await _refuse_misfits(uow, name=found.name, kind=kind, choices=choices)
        values |= {"applied_at": None, "applied_through": None}
        uow.after_commit(Job(name=JobName.APPLY_CUSTOM_FIELDS))
    if values:
        await queries.change_field(
            uow.session, field_id=field_id, values=values | {"updated_at": now}
        )
    return await get_field(uow, field_id=field_id)


async def try_update(uow: UnitOfWork, changes: CustomFieldUpdate, *, field_id: UUID) -> Fit:
    """Count what a change would do to the stored values, without storing it.

    Raises:
        CustomFieldNotFoundError: No custom field has this id.
        CustomFieldArchivedError: It is archived.
        InvalidChoicesError: A choice field has no choices, or another field has some.
    """
    found = await _lock(uow, field_id=field_id)
    kind, choices = _after(found, _changes(found, changes))
    return await _fit(uow, name=found.name, kind=kind, choices=choices)


async def archive(uow: UnitOfWork, *, field_id: UUID, now: datetime) -> None:
    """Archive a field; its values stay and are no longer checked. Repeating changes nothing.

    Raises:
        CustomFieldNotFoundError: No custom field has this id.
    """
    found = await queries.lock_field(uow.session, field_id=field_id)
    if found is None:
        raise CustomFieldNotFoundError("No custom field has this id.")
    if found.archived_at is None:
        values = {"archived_at": now, "updated_at": now}
        await queries.change_field(uow.session, field_id=field_id, values=values)


async def apply_chunk(uow: UnitOfWork, *, now: datetime, limit: int = CHUNK_CONTACTS) -> bool:
    """Convert the older values of the next contacts to their field's type; misfits stay.

    Returns:
        False if no field waits.
    """
    found = await queries.lock_waiting_field(uow.session)
    if found is None:
        return False
    after = found.applied_through or _FIRST
    rows = await queries.fetch_value_page(uow.session, name=found.name, after=after, limit=limit)
    stored = [(row.id, row.value) for row in rows if row.has_value]
    rewritten = _rewritten(stored, FieldType(found.type), found.choices)
    if rewritten:
        await queries.rewrite_values(uow.session, name=found.name, rows=rewritten)
    values: dict[str, Any] = {"applied_at": now} if len(rows) < limit else {}
    if rows:
        values["applied_through"] = rows[-1].id
    await queries.change_field(uow.session, field_id=found.id, values=values)
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
    """Return whether both are the same JSON; to Python ``1``, ``1.0`` and ``True`` are equal."""
    return type(one) is type(other) and one == other


async def _lock(uow: UnitOfWork, *, field_id: UUID) -> CustomField:
    found = await queries.lock_field(uow.session, field_id=field_id)
    if found is None:
        raise CustomFieldNotFoundError("No custom field has this id.")
    if found.archived_at is not None:
        raise CustomFieldArchivedError("It was deleted; define a new field with this name.")
    return found


def _changes(found: CustomField, changes: CustomFieldUpdate) -> dict[str, Any]:
    """Return the columns that change; a type other than choice clears the choices.

    Raises:
        InvalidChoicesError: A choice field has no choices, or another field has some.
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
    async for rows in queries.stream_values(uow.session, name=name):
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

"""Create, change, archive and read custom fields, and convert stored values to their types."""

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
    """Read the custom fields that are not archived, with one small statement."""
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
    """Return the type of each custom field that is not archived, by name."""
    found = await definitions(uow)
    return {name: wanted.type for name, wanted in found.by_name.items()}


async def create_field(uow: UnitOfWork, body: CustomFieldCreate, *, now: datetime) -> CustomField:
    """Create a custom field; a job then converts the values that contacts already have.

    Raises:
        InvalidChoicesError: A field of the type choice has no choices, or another field has some.
        CustomFieldExistsError: Another field has this name; ``custom_field_id`` is its id.
        TooManyCustomFieldsError: There are already ``MOST_FIELDS`` fields.
        ValuesDoNotFitError: Some contacts have a value that does not fit the type.
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
            f"There are already {MOST_FIELDS} custom fields, the largest allowed number. Archive "
            "one before you create another."
        )
    await _refuse_misfits(uow, name=body.name, kind=body.type, choices=body.choices)
    uow.after_commit(Job(name=JobName.APPLY_CUSTOM_FIELDS))
    return made


async def try_create(uow: UnitOfWork, body: CustomFieldCreate) -> Fit:
    """Count the stored values that would fit a new field, be converted, or not fit.

    Raises:
        InvalidChoicesError: A field of the type choice has no choices, or another field has some.
        CustomFieldExistsError: Another field has this name; ``custom_field_id`` is its id.
    """
    _check_choices(body.type, body.choices)
    if await queries.id_of_name(uow.session, name=body.name) is not None:
        raise await _taken(uow, body.name)
    return await _fit(uow, name=body.name, kind=body.type, choices=body.choices)


async def get_field(uow: UnitOfWork, *, field_id: UUID) -> CustomField:
    """Return a custom field, even if it is archived.

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
    """Return a page of the archived fields, or of all others, newest first.

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
    """Change a field. Values that contacts already have must fit a new type or new choices.

    Raises:
        CustomFieldNotFoundError: No custom field has this id.
        CustomFieldArchivedError: The field is archived.
        InvalidChoicesError: A field of the type choice has no choices, or another field has some.
        ValuesDoNotFitError: Some contacts have a value that does not fit the type.
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
    """Count the stored values that would fit after a change, be converted, or not fit.

    Raises:
        CustomFieldNotFoundError: No custom field has this id.
        CustomFieldArchivedError: The field is archived.
        InvalidChoicesError: A field of the type choice has no choices, or another field has some.
    """
    found = await _lock(uow, field_id=field_id)
    kind, choices = _after(found, _changes(found, changes))
    return await _fit(uow, name=found.name, kind=kind, choices=choices)


async def archive(uow: UnitOfWork, *, field_id: UUID, now: datetime) -> None:
    """Archive a field: contacts keep its values, and new values are not checked.

    An archived field does not change.

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
    """Convert one field's values of the next ``limit`` contacts to its type.

    Values that do not fit the type are not changed.

    Returns:
        False if no field has values to convert.
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
    """Return whether two values are the same JSON; for ``==``, ``1``, ``1.0`` and ``True`` are."""
    return type(one) is type(other) and one == other


async def _lock(uow: UnitOfWork, *, field_id: UUID) -> CustomField:
    found = await queries.lock_field(uow.session, field_id=field_id)
    if found is None:
        raise CustomFieldNotFoundError("No custom field has this id.")
    if found.archived_at is not None:
        raise CustomFieldArchivedError(
            "This custom field is archived and cannot be changed. Create a new custom field with "
            "its name."
        )
    return found


def _changes(found: CustomField, changes: CustomFieldUpdate) -> dict[str, Any]:
    """Return the columns whose value changes; a type other than choice empties the choices.

    Raises:
        InvalidChoicesError: A field of the type choice has no choices, or another field has some.
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
        raise InvalidChoicesError(
            "A field of the type choice needs at least one choice; list them in `choices`."
        )
    if kind is not FieldType.CHOICE and choices:
        raise InvalidChoicesError(
            f"A field of the type {kind} cannot have choices; leave out `choices`."
        )


async def _refuse_misfits(
    uow: UnitOfWork, *, name: str, kind: FieldType, choices: Sequence[str]
) -> None:
    fit = await _fit(uow, name=name, kind=kind, choices=choices)
    if fit.misfits:
        raise ValuesDoNotFitError(
            f"The value of {name} does not fit the type {kind} for {fit.misfits:,} contacts. "
            "Correct these values first; the same request with `?dry_run=true` shows some of them.",
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
        "Another custom field has this name. Change that field, or choose another name.",
        custom_field_id=str(holder),
    )

"""Read contacts together with the active flags and the line types of their phone numbers.

A flag is a stored fact about a number, such as ``opted_out``. A line type is the kind of a phone
number, such as ``mobile``.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, String, cast, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.people.contacts.schemas import FlaggedContact
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.phone_validation import LineType, PhoneLookup

ALIAS = aliased(Contact)


def is_unexpired(now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition that is true for flags that have not expired."""
    return or_(ContactFlag.expires_at.is_(None), ContactFlag.expires_at > now)


def _flags_of(person: type[Contact], now: datetime) -> ScalarSelect[Any]:
    """Select the names of the active flags of a contact's phone number, in alphabetical order."""
    names = func.array_agg(aggregate_order_by(ContactFlag.flag_type, ContactFlag.flag_type))
    return (
        select(func.coalesce(names, cast([], ARRAY(String))))
        .where(ContactFlag.phone == person.phone, is_unexpired(now))
        .correlate(person)
        .scalar_subquery()
    )


def _line_type_of(person: type[Contact]) -> ScalarSelect[Any]:
    """Select the line type (such as ``mobile``) of a contact's number; NULL if not known."""
    return (
        select(func.nullif(PhoneLookup.line_type, LineType.UNKNOWN.value))
        .where(PhoneLookup.phone == person.phone)
        .correlate(person)
        .scalar_subquery()
    )


def flagged_columns(person: type[Contact], now: datetime) -> tuple[Any, Any, Any]:
    """Return the columns for ``fetch_flagged``: the contact, the flags, and the line type."""
    flags, line_type = _flags_of(person, now), _line_type_of(person)
    return person, flags.label("flags"), line_type.label("line_type")


def select_flagged(now: datetime) -> Select[tuple[Contact, Any, Any]]:
    """Select the contacts that are not deleted, with their flags and line types."""
    return select(*flagged_columns(Contact, now)).where(Contact.deleted_at.is_(None))


def head_of(key: ColumnElement[bool]) -> ScalarSelect[Any]:
    """Return an SQL subquery for the id of the contact that meets a condition.

    If this contact was merged into another contact, the result is the id of the other contact.

    Args:
        key: The condition, such as ``ALIAS.phone == phone``. ``ALIAS`` is the contact table in the
            subquery.
    """
    return select(func.coalesce(ALIAS.merged_into, ALIAS.id)).where(key).scalar_subquery()


async def fetch_flagged(session: AsyncSession, statement: Select[Any]) -> list[FlaggedContact]:
    """Run a statement that selects contacts, their flags and their line types; return the contacts.

    Args:
        statement: Selects the columns that ``flagged_columns`` returns.
    """
    rows = await session.execute(statement.execution_options(populate_existing=True))
    return [FlaggedContact(row[0], list(row.flags), row.line_type) for row in rows]

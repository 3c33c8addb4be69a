"""SQL that moves conversations, notes, lists and so on from one contact to another."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.deduplication.field_merge import DuplicateBefore, PropertyPlace
from crm_api.platform.database import typed_rows


@dataclass(frozen=True, slots=True)
class Belonging:
    """A conversation, a note, a list or another thing that belongs to a contact.

    Attributes:
        kind: ``conversation``, ``note``, ``task``, ``appointment``, ``quote``, ``invoice``,
            ``list`` or ``property``.
        id: The id of this thing.
        added_at: When the contact was added to the list or property; None for other kinds.
        role: The contact's relation to the property, such as ``primary``; None for other kinds.
        import_id: The import that attached the contact to the property; None if no import did, and
            for other kinds.
    """

    kind: str
    contact_id: UUID
    id: UUID
    added_at: datetime | None
    role: str | None
    import_id: UUID | None


_KINDS = (
    ("conversation", "conversation"),
    ("note", "contact_note"),
    ("task", "task"),
    ("appointment", "appointment"),
    ("quote", "quote"),
    ("invoice", "invoice"),
)
"""The kinds of rows that belong to only one contact, such as notes, and the table of each kind."""

_MOVE_CHILDREN = tuple(
    text(f"UPDATE {table} SET contact_id = :to WHERE contact_id = ANY(CAST(:ids AS uuid[]))")
    for table in ("conversation", "activity", *(table for _, table in _KINDS[1:]))
)
_ALSO = {
    "task": """ OR conversation_id IN (
            SELECT k.id FROM conversation k WHERE k.contact_id = :to)"""
}
_RETURN_CHILDREN = (
    text("""
        UPDATE activity SET contact_id = :to
        WHERE contact_id = :of AND (phone = :phone OR conversation_id IN (
            SELECT k.id FROM conversation k
            WHERE k.contact_id = :of
              AND (k.phone = :phone OR k.id = ANY(CAST(:conversation_ids AS uuid[])))))
    """),
    text("""
        UPDATE conversation SET contact_id = :to
        WHERE contact_id = :of
          AND (phone = :phone OR id = ANY(CAST(:conversation_ids AS uuid[])))
    """),
    *(
        text(f"""
            UPDATE {table} SET contact_id = :to
            WHERE contact_id = :of
              AND (id = ANY(CAST(:{kind}_ids AS uuid[])){_ALSO.get(kind, "")})
        """)
        for kind, table in _KINDS[1:]
    ),
)


_CHILDREN = text(
    " UNION ALL ".join(
        f"""
            SELECT '{kind}' AS kind, b.contact_id, b.id, CAST(NULL AS timestamptz) AS added_at,
                   CAST(NULL AS text) AS role, CAST(NULL AS uuid) AS import_id
            FROM {table} b WHERE b.contact_id = ANY(CAST(:ids AS uuid[]))
        """
        for kind, table in _KINDS
    )
    + """
    UNION ALL
    SELECT 'list', l.contact_id, l.list_id, l.added_at, NULL, NULL
    FROM contact_list_member l WHERE l.contact_id = ANY(CAST(:ids AS uuid[]))
    UNION ALL
    SELECT 'property', o.contact_id, o.property_id, o.added_at, o.role, o.import_id
    FROM property_contact o WHERE o.contact_id = ANY(CAST(:ids AS uuid[]))
    ORDER BY 1, 2, 3
    """
)


async def find_children(session: AsyncSession, *, ids: Collection[UUID]) -> list[Belonging]:
    """Fetch everything that belongs to the contacts, ordered by kind.

    ``Belonging`` lists the kinds.
    """
    return typed_rows(Belonging, await session.execute(_CHILDREN, {"ids": list(ids)}))


_JOIN_LISTS = text("""
    INSERT INTO contact_list_member (list_id, contact_id, added_at)
    SELECT l.list_id, :to, min(l.added_at) FROM contact_list_member l
    WHERE l.contact_id = ANY(CAST(:ids AS uuid[])) GROUP BY l.list_id
    ON CONFLICT DO NOTHING
    RETURNING list_id
""")

_JOIN_PROPERTIES = text("""
    INSERT INTO property_contact (property_id, contact_id, role, import_id, added_at)
    SELECT DISTINCT ON (o.property_id) o.property_id, CAST(:to AS uuid), o.role, o.import_id,
           o.added_at
    FROM property_contact o WHERE o.contact_id = ANY(CAST(:ids AS uuid[]))
    ORDER BY o.property_id, o.added_at
    ON CONFLICT DO NOTHING
    RETURNING property_id
""")

_LEAVE_PROPERTIES = text("""
    DELETE FROM property_contact WHERE contact_id = ANY(CAST(:ids AS uuid[]))
""")

_LEAVE_LISTS = text("""
    DELETE FROM contact_list_member WHERE contact_id = ANY(CAST(:ids AS uuid[]))
""")


async def move_children(
    session: AsyncSession, *, ids: Collection[UUID], to: UUID
) -> tuple[list[UUID], list[UUID]]:
    """Move everything that belongs to the contacts ``ids`` to the contact ``to``.

    Returns:
        The ids of the lists and the ids of the properties to which the contact ``to`` was added.
    """
    values = {"ids": list(ids), "to": to}
    for statement in _MOVE_CHILDREN:
        await session.execute(statement, values)
    lists = list(await session.scalars(_JOIN_LISTS, values))
    await session.execute(_LEAVE_LISTS, {"ids": list(ids)})
    properties = list(await session.scalars(_JOIN_PROPERTIES, values))
    await session.execute(_LEAVE_PROPERTIES, {"ids": list(ids)})
    return lists, properties


async def return_children(session: AsyncSession, duplicate: DuplicateBefore, *, of: UUID) -> None:
    """Move the data of a duplicate back from the primary contact to the duplicate, to undo a merge.

    The duplicate also gets all messages and conversations with its phone number, even those that
    began after the merge. Tasks in a conversation move with it.

    Args:
        of: The primary contact.
    """
    values = {"of": of, "to": duplicate.id, "phone": duplicate.phone}
    ids = {f"{kind}_ids": getattr(duplicate, f"{kind}_ids") for kind, _ in _KINDS}
    for statement in _RETURN_CHILDREN:
        await session.execute(statement, values | ids)


_RETURN_LISTS = text("""
    INSERT INTO contact_list_member (list_id, contact_id, added_at)
    SELECT x.list_id, :to, x.added_at
    FROM unnest(CAST(:list_ids AS uuid[]), CAST(:added_ats AS timestamptz[]))
        AS x (list_id, added_at)
    JOIN contact_list l ON l.id = x.list_id
    ON CONFLICT DO NOTHING
""")


async def return_lists(
    session: AsyncSession, *, to: UUID, lists: Sequence[tuple[UUID, datetime]]
) -> None:
    """Add a contact to its former lists again, when a merge is undone.

    A list that no longer exists is skipped.

    Args:
        session: The session.
        to: The contact.
        lists: For each list: its id, and when the contact was added to it before the merge.
    """
    values = {
        "to": to,
        "list_ids": [list_id for list_id, _ in lists],
        "added_ats": [added_at for _, added_at in lists],
    }
    await session.execute(_RETURN_LISTS, values)


_RETURN_PROPERTIES = text("""
    INSERT INTO property_contact (property_id, contact_id, role, import_id, added_at)
    SELECT x.property_id, :to, x.role, x.import_id, x.added_at
    FROM unnest(CAST(:property_ids AS uuid[]), CAST(:roles AS text[]),
                CAST(:import_ids AS uuid[]), CAST(:added_ats AS timestamptz[]))
        AS x (property_id, role, import_id, added_at)
    JOIN property p ON p.id = x.property_id
    ON CONFLICT DO NOTHING
""")


async def return_properties(
    session: AsyncSession, *, to: UUID, properties: Sequence[PropertyPlace]
) -> None:
    """Attach the contact ``to`` to its former properties again, when a merge is undone.

    A property that no longer exists is skipped.
    """
    values = {
        "to": to,
        "property_ids": [place.property_id for place in properties],
        "roles": [place.role for place in properties],
        "import_ids": [place.import_id for place in properties],
        "added_ats": [place.added_at for place in properties],
    }
    await session.execute(_RETURN_PROPERTIES, values)


_LEAVE_THESE = text("""
    DELETE FROM contact_list_member
    WHERE contact_id = :contact_id AND list_id = ANY(CAST(:ids AS uuid[]))
""")

_LEAVE_THESE_PROPERTIES = text("""
    DELETE FROM property_contact
    WHERE contact_id = :contact_id AND property_id = ANY(CAST(:ids AS uuid[]))
""")


async def leave_lists_and_properties(
    session: AsyncSession,
    *,
    contact_id: UUID,
    list_ids: Collection[UUID],
    property_ids: Collection[UUID],
) -> None:
    """Remove a contact from the given lists and the given properties."""
    values = {"contact_id": contact_id, "ids": list(list_ids)}
    await session.execute(_LEAVE_THESE, values)
    await session.execute(_LEAVE_THESE_PROPERTIES, values | {"ids": list(property_ids)})

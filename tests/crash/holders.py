"""Find which process has an attempt in flight, so that those of dead processes are not counted.

Each worker connects to the database under its own name. A trigger stores the name of the process
that inserted an attempt. Only the databases of the crash test and the chaos test have this trigger.
Only the process that inserted an attempt can pass the gate with it and call the provider.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

NAMES = 3_000
"""Number of names for processes: more than a long crash run needs. If more processes start, the
names are used again."""

_SET_UP = (
    "CREATE TABLE crash_holder (attempt_id uuid PRIMARY KEY, holder text NOT NULL)",
    """
    CREATE FUNCTION crash_note_holder() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO crash_holder SELECT id, session_user FROM added;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER crash_note_holder AFTER INSERT ON send_attempt
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION crash_note_holder()
    """,
)
_NAMES = f"""
    DO $$ BEGIN
        FOR n IN 0..{NAMES - 1} LOOP EXECUTE format('CREATE ROLE fork_%s LOGIN SUPERUSER', n);
        END LOOP;
    END $$
"""
_IN_FLIGHT = text("""
    SELECT a.membership_id, h.holder
    FROM send_attempt a JOIN crash_holder h ON h.attempt_id = a.id
    WHERE a.status IN ('claimed', 'calling') AND h.holder = ANY(CAST(:alive AS text[]))
""")


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """The attempts in flight (claimed or calling) of running workers at one moment.

    Attributes:
        attempts: Number of these attempts.
        own: Number of these attempts that the killed process itself has in flight.
        members: Ids of the recipients of these attempts.
    """

    attempts: int = 0
    own: int = 0
    members: frozenset[UUID] = field(default_factory=frozenset, repr=False)


async def record_holders(engine: AsyncEngine, *, has_names: bool = True) -> None:
    """Make the database store which process inserts each attempt.

    Args:
        has_names: True if each process connects under its own name. Then a database role is created
            for each name.
    """
    async with engine.begin() as connection:
        for statement in (*_SET_UP, *((_NAMES,) if has_names else ())):
            await connection.execute(text(statement))


def name_of(number: int) -> str:
    """Return the name under which a process connects to the database."""
    return f"fork_{number % NAMES}"


def url_for(database_url: str, name: str) -> str:
    """Return the database URL with which the process of this name connects.

    The URL has no password, because none is needed.
    """
    parts = urlsplit(database_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{name}@{host}"))


async def in_flight(
    connection: AsyncConnection, *, alive: Collection[str], killed: str | None
) -> InFlight:
    """Count the attempts in flight of the running processes, and those of the killed process."""
    rows = (await connection.execute(_IN_FLIGHT, {"alive": list(alive)})).all()
    return InFlight(
        attempts=len(rows),
        own=sum(row.holder == killed for row in rows),
        members=frozenset(row.membership_id for row in rows if row.membership_id is not None),
    )

"""Open the root secret, and encrypt all values again with the current secret key."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.platform.database import UnitOfWorkFactory, typed_rows
from crm_api.platform.encryption import Secret, UnsealError, is_under, seal, unseal

NAME = "root"
ABOUT = "root secret"
_READ_ROOT = text("SELECT sealed FROM root_secret WHERE name = :name")
_ADD_ROOT = text("""
    INSERT INTO root_secret (name, sealed, created_at) VALUES (:name, :sealed, :now)
    ON CONFLICT (name) DO NOTHING
""")

ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class SealedColumn:
    """A column of encrypted values; ``about`` is a SQL expression for what each is bound to."""

    table: str
    name: str
    about: str


SEALED_COLUMNS = (
    SealedColumn("root_secret", "sealed", f"'{ABOUT}'"),
    SealedColumn("webhook_key", "sealed", "'webhook key ' || webhook_id"),
    SealedColumn("webhook_secret", "sealed", "'webhook endpoint ' || endpoint_id"),
    SealedColumn("erasure", "sealed", "'erasure ' || id"),
    SealedColumn("outgoing_mail", "body", "'mail'"),
    SealedColumn("idempotency_key", "body", "'idempotency'"),
)


@dataclass(frozen=True, slots=True)
class SealedValue:
    """One encrypted value: position of its row, what it is bound to, and its bytes."""

    position: str
    about: str
    sealed: bytes


@dataclass(kw_only=True)
class SealedRows:
    """Encrypted rows of one table.

    Attributes:
        table: Its name.
        current: Number of rows under the current secret key.
        others: Number of rows under another known key.
        unreadable: Number of rows that no known key opens.
    """

    table: str
    current: int = 0
    others: int = 0
    unreadable: int = 0


async def open_root_secret(
    session: AsyncSession, *, keys: tuple[bytes, ...], now: datetime, adopts: bool
) -> Secret:
    """Return the secret of the service.

    Args:
        session: Session of a transaction that the caller commits.
        keys: The current secret key, then other known ones.
        now: The current instant.
        adopts: Where the database has no root yet, store the secret key as the root.

    Raises:
        UnsealError: No key decrypts the root. Or there is no root and several keys, so that it is
            unclear which key must become the root.
    """
    sealed: bytes | None = await session.scalar(_READ_ROOT, {"name": NAME})
    if sealed is None:
        if len(keys) > 1 and adopts:
            raise UnsealError("It is not known which of the keys the database was used with.")
        if not adopts:
            return Secret(keys[0], seals=keys)
        first = seal(keys[0].decode(), secret=keys[0], about=ABOUT)
        await session.execute(_ADD_ROOT, {"name": NAME, "sealed": first, "now": now})
        sealed = await session.scalar(_READ_ROOT, {"name": NAME}) or b""
    root = unseal(sealed, secret=Secret(keys[0], seals=keys), about=ABOUT)
    return Secret(root.encode(), seals=keys)


async def count_sealed_rows(session: AsyncSession, *, secret: Secret) -> list[SealedRows]:
    """Return, for each table, how many values are encrypted with which key."""
    found = []
    for column in SEALED_COLUMNS:
        counted = SealedRows(table=column.table)
        async for rows in _read_sealed(session, column, size=ROWS_AT_ONCE):
            for row in rows:
                if is_under(row.sealed, key=secret.seals[0], about=row.about):
                    counted.current += 1
                elif _open(row.sealed, secret, row.about) is None:
                    counted.unreadable += 1
                else:
                    counted.others += 1
        found.append(counted)
    return found


async def reseal_all(
    new_uow: UnitOfWorkFactory, *, secret: Secret
) -> AsyncGenerator[tuple[str, int]]:
    """Re-encrypt values under other keys in small transactions; yield table and count of each.

    It may be interrupted and started again: finished rows are skipped. A row that another process
    changes meanwhile was encrypted by that process, with its key, and is left as it is.
    """
    for column in SEALED_COLUMNS:
        async with new_uow() as reading:
            async for rows in _read_sealed(reading.session, column, size=ROWS_AT_ONCE):
                todo = [row for row in rows if not _is_current(row.sealed, secret, row.about)]
                opened = [(row, _open(row.sealed, secret, row.about)) for row in todo]
                known = [(row, content) for row, content in opened if content is not None]
                if known:
                    async with new_uow() as uow:
                        yield (
                            column.table,
                            await _replace_sealed(
                                uow.session,
                                column,
                                positions=[row.position for row, _ in known],
                                before=[row.sealed for row, _ in known],
                                after=[
                                    seal(content, secret=secret, about=row.about)
                                    for row, content in known
                                ],
                            ),
                        )


def _is_current(sealed: bytes, secret: Secret, about: str) -> bool:
    return is_under(sealed, key=secret.seals[0], about=about)


def _open(sealed: bytes, secret: Secret, about: str) -> str | None:
    try:
        return unseal(sealed, secret=secret, about=about)
    except UnsealError:
        return None


async def _read_sealed(
    session: AsyncSession, column: SealedColumn, *, size: int
) -> AsyncIterator[list[SealedValue]]:
    """Stream the encrypted values of a column: row position, what it is bound to, and bytes."""
    statement = text(
        f"SELECT CAST(ctid AS text) AS position, {column.about} AS about, {column.name} AS sealed "
        f"FROM {column.table} WHERE {column.name} IS NOT NULL"
    )
    stream = await session.stream(statement)
    async for rows in stream.partitions(size):
        yield typed_rows(SealedValue, rows)


async def _replace_sealed(
    session: AsyncSession,
    column: SealedColumn,
    *,
    positions: Sequence[str],
    before: Sequence[bytes],
    after: Sequence[bytes],
) -> int:
    """Store re-encrypted values in rows that have not changed since; return how many rows."""
    statement = text(f"""
        UPDATE {column.table} t SET {column.name} = n.after
        FROM unnest(CAST(:positions AS text[]), CAST(:before AS bytea[]), CAST(:after AS bytea[]))
             AS n (position, before, after)
        WHERE t.ctid = CAST(n.position AS tid) AND t.{column.name} = n.before
        RETURNING 1
    """)
    values = {"positions": list(positions), "before": list(before), "after": list(after)}
    return len((await session.execute(statement, values)).all())

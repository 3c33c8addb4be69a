"""Encrypt stored values again with the current key, and count the values that each key decrypts."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.monitoring.key_rotation.root_secret import ABOUT_ROOT
from crm_api.platform.database import UnitOfWorkFactory, typed_rows
from crm_api.platform.encryption import Secret, UnsealError, is_under, seal, unseal

ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class SealedColumn:
    """A column with encrypted values.

    Attributes:
        about: The SQL expression of a text that is the associated data of the encryption: a value
            can be decrypted only with the text with which it was encrypted. In most columns, the
            text contains an id of the row, so a value cannot be moved to another row.
    """

    table: str
    name: str
    about: str


SEALED_COLUMNS = (
    SealedColumn("root_secret", "sealed", f"'{ABOUT_ROOT}'"),
    SealedColumn("webhook_key", "sealed", "'webhook key ' || webhook_id"),
    SealedColumn("webhook_secret", "sealed", "'webhook endpoint ' || endpoint_id"),
    SealedColumn("erasure", "sealed", "'erasure ' || id"),
    SealedColumn("calendar_account", "sealed", "'calendar account ' || id"),
    SealedColumn("outgoing_mail", "body", "'mail'"),
    SealedColumn("idempotency_key", "body", "'idempotency'"),
)


@dataclass(frozen=True, slots=True)
class SealedValue:
    """An encrypted value.

    Attributes:
        position: The physical position of its row (``ctid``).
        about: The associated data of the encryption, which decryption needs (see
            ``SealedColumn``).
        sealed: The encrypted bytes.
    """

    position: str
    about: str
    sealed: bytes


@dataclass(kw_only=True)
class SealedRows:
    """The number of encrypted values of one table, by the key that decrypts them.

    Attributes:
        table: The name of the table.
        current: The number of values that the current secret key decrypts.
        others: The number of values that another known key decrypts.
        unreadable: The number of values that no known key decrypts.
    """

    table: str
    current: int = 0
    others: int = 0
    unreadable: int = 0


async def count_sealed_rows(session: AsyncSession, *, secret: Secret) -> list[SealedRows]:
    """For each table, count the encrypted values that each key decrypts."""
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
    """Encrypt again, with the current key, every value that another known key decrypts.

    Each batch is one transaction. After each batch, the function yields the name of the table and
    the number of changed rows. After an interruption it can be called again; it skips finished
    rows. A row that another process changes meanwhile is skipped, because that process encrypts it
    with the current key.
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
    """Yield the encrypted values of a column, in batches of ``size``."""
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
    """Store values that were encrypted again, and return the number of changed rows.

    A row that has changed since it was read is skipped.

    Args:
        positions: The positions of the rows.
        before: The encrypted values that were read.
        after: The new encrypted values.
    """
    statement = text(f"""
        UPDATE {column.table} t SET {column.name} = n.after
        FROM unnest(CAST(:positions AS text[]), CAST(:before AS bytea[]), CAST(:after AS bytea[]))
             AS n (position, before, after)
        WHERE t.ctid = CAST(n.position AS tid) AND t.{column.name} = n.before
        RETURNING 1
    """)
    values = {"positions": list(positions), "before": list(before), "after": list(after)}
    return len((await session.execute(statement, values)).all())

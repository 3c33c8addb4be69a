"""Read the root secret, and encrypt stored values again when the secret key was replaced.

The root secret is the first secret key that the service used.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import LargeBinary, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.inbound.webhook_setup.keyring import NO_QUEUE
from crm_api.platform import clock
from crm_api.platform.database import (
    Base,
    UnitOfWorkFactory,
    open_uow,
    typed_rows,
)
from crm_api.platform.encryption import Secret, UnsealError, is_under, seal, unseal
from crm_api.platform.postgres import DATABASE_UNREACHABLE, unreachable_sentence
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings, SettingsError


class RootSecret(Base):
    """The root secret: the first secret key that the service used.

    The service computes its keyed hashes with the root secret. The root secret never changes,
    because the old hashes cannot be computed again with another key. It is stored encrypted with
    the current secret key. The table has one row.
    """

    __tablename__ = "root_secret"

    name: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


PATIENCE_SECONDS = 30.0
"""How long a starting process waits for a database that is unavailable. After this time, the
process ends, and the supervisor starts it again."""
_POLL_SECONDS = 0.5
_FEWEST_TRIES = 4
"""The smallest number of tries to reach the database. They are made even if the deadline has
passed, because the machine may have suspended the process until after the deadline."""


async def with_secret(
    settings: Settings, *, patience: float = PATIENCE_SECONDS, adopts: bool = True
) -> Settings:
    """Return the settings with the root secret in them; wait while the database is unavailable.

    Args:
        patience: The longest wait for the database, in seconds.
        adopts: True to store the secret key as the root secret if the database has none. False for
            commands that only read.

    Raises:
        StartError: The database cannot be reached.
        SettingsError: There is no secret key, none of the keys decrypts the root secret, or the
            schema of the database is older than this release.
    """
    deadline = asyncio.get_running_loop().time() + patience
    fewest = _FEWEST_TRIES if patience else 1
    tried = 0
    while True:
        tried += 1
        try:
            return await _open_settings(settings, adopts=adopts)
        except ProgrammingError as error:
            raise SettingsError(
                "the database's schema is older than this release: run `crm-api migrate`"
            ) from error
        except DATABASE_UNREACHABLE as error:
            if tried >= fewest and asyncio.get_running_loop().time() > deadline:
                raise StartError(unreachable_sentence(error)) from error
        await asyncio.sleep(_POLL_SECONDS)


async def _open_settings(settings: Settings, *, adopts: bool) -> Settings:
    keys = settings.secret_keys()
    async with open_uow(settings.require_database_url(), NO_QUEUE) as uow:
        try:
            secret = await open_root_secret(uow.session, keys=keys, now=clock.now(), adopts=adopts)
        except UnsealError as error:
            raise SettingsError(
                "CRM_SECRET_KEY is not the secret key of this database: start once with only "
                "the old key; docs/explanation/security.md says how to replace it afterwards"
            ) from error
    return settings.knowing(secret)


_NAME = "root"
ABOUT_ROOT = "root secret"
"""The text that is bound to the encrypted root secret (the associated data). Decryption needs the
same text."""
_READ_ROOT = text("SELECT sealed FROM root_secret WHERE name = :name")
_ADD_ROOT = text("""
    INSERT INTO root_secret (name, sealed, created_at) VALUES (:name, :sealed, :now)
    ON CONFLICT (name) DO NOTHING
""")


async def open_root_secret(
    session: AsyncSession, *, keys: tuple[bytes, ...], now: datetime, adopts: bool
) -> Secret:
    """Return a ``Secret`` with the secret keys and the decrypted root secret of the database.

    Args:
        session: The session of a transaction that the caller commits.
        keys: The current secret key, then other known keys.
        adopts: Matters only if the database has no root secret. The current key is then used as the
            root secret. True: the key is also stored as the root secret. False: nothing is stored.

    Raises:
        UnsealError: No key decrypts the root secret. Or there is no root secret, ``adopts`` is
            True, and ``keys`` has more than one key.
    """
    sealed: bytes | None = await session.scalar(_READ_ROOT, {"name": _NAME})
    if sealed is None:
        if len(keys) > 1 and adopts:
            raise UnsealError("There are several secret keys and no root secret.")
        if not adopts:
            return Secret(keys[0], seals=keys)
        first = seal(keys[0].decode(), secret=keys[0], about=ABOUT_ROOT)
        await session.execute(_ADD_ROOT, {"name": _NAME, "sealed": first, "now": now})
        sealed = await session.scalar(_READ_ROOT, {"name": _NAME}) or b""
    root = unseal(sealed, secret=Secret(keys[0], seals=keys), about=ABOUT_ROOT)
    return Secret(root.encode(), seals=keys)


ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class SealedColumn:
    """A column with encrypted values.

    Attributes:
        about: An SQL expression for a text. To decrypt a value, the key and this text are needed.
            In most columns, the text contains an id of the row. So a value that is copied to
            another row cannot be decrypted.
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
    """Count the encrypted values of each table, by the key that decrypts them."""
    found = []
    for column in SEALED_COLUMNS:
        counted = SealedRows(table=column.table)
        async for rows in _read_sealed(session, column, size=ROWS_AT_ONCE):
            for row in rows:
                if is_under(row.sealed, key=secret.seals[0], about=row.about):
                    counted.current += 1
                elif _unsealed(row.sealed, secret, row.about) is None:
                    counted.unreadable += 1
                else:
                    counted.others += 1
        found.append(counted)
    return found


async def reseal_all(
    new_uow: UnitOfWorkFactory, *, secret: Secret
) -> AsyncGenerator[tuple[str, int]]:
    """Encrypt again, with the current key, every value that another known key decrypts.

    For each batch (one transaction), the function yields the name of the table and the number of
    changed rows. After an interruption it can be called again. A row that another process changes
    meanwhile is skipped: that process uses the current key.
    """
    for column in SEALED_COLUMNS:
        async with new_uow() as reading:
            async for rows in _read_sealed(reading.session, column, size=ROWS_AT_ONCE):
                todo = [row for row in rows if not _is_current(row.sealed, secret, row.about)]
                opened = [(row, _unsealed(row.sealed, secret, row.about)) for row in todo]
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


def _unsealed(sealed: bytes, secret: Secret, about: str) -> str | None:
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

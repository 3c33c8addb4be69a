"""Opens the root secret, and seals everything anew under the present secret key."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.resealing import queries
from crm_api.domain.resealing.queries import ABOUT, PLACES
from crm_api.domain.sealing import Secret, UnsealError, is_under, seal, unseal

ROWS_AT_ONCE = 500


@dataclass(kw_only=True)
class Found:
    """What is sealed in one table.

    Attributes:
        table: Its name.
        current: Rows under the present secret key.
        others: Rows under another one that is known.
        unreadable: Rows that no known key opens.
    """

    table: str
    current: int = 0
    others: int = 0
    unreadable: int = 0


async def open_root(
    session: AsyncSession, *, keys: tuple[bytes, ...], now: datetime, adopts: bool
) -> Secret:
    """Return the secret of the service.

    Args:
        session: Of a transaction that is committed afterwards.
        keys: The present secret key, then others that are known.
        now: The present instant.
        adopts: Where the database has no root yet, the secret key becomes it.

    Raises:
        UnsealError: None of the keys opens it; or there is none, and which key is to become it is
            not clear because several are given.
    """
    sealed = await queries.get_root(session)
    if sealed is None:
        if len(keys) > 1 and adopts:
            raise UnsealError("It is not known which of the keys the database was used with.")
        if not adopts:
            return Secret(keys[0], seals=keys)
        await queries.add_root(
            session, sealed=seal(keys[0].decode(), secret=keys[0], about=ABOUT), now=now
        )
        sealed = await queries.get_root(session) or b""
    root = unseal(sealed, secret=Secret(keys[0], seals=keys), about=ABOUT)
    return Secret(root.encode(), seals=keys)


async def survey(session: AsyncSession, *, secret: Secret) -> list[Found]:
    """Count, for each table, what is sealed under which key."""
    found = []
    for place in PLACES:
        counted = Found(table=place.table)
        async for rows in queries.pages(session, place, size=ROWS_AT_ONCE):
            for row in rows:
                if is_under(row.sealed, key=secret.seals[0], about=row.about):
                    counted.current += 1
                elif _open(row.sealed, secret, row.about) is None:
                    counted.unreadable += 1
                else:
                    counted.others += 1
        found.append(counted)
    return found


async def reseal(new_uow: UnitOfWorkFactory, *, secret: Secret) -> AsyncGenerator[tuple[str, int]]:
    """Seal anew what is under another key, some rows a transaction; tells table and count of each.

    It may be stopped at any moment and begun again: what is done is found done. A row that
    somebody changes meanwhile is sealed by them, under the key that they have.
    """
    for place in PLACES:
        async with new_uow() as reading:
            async for rows in queries.pages(reading.session, place, size=ROWS_AT_ONCE):
                todo = [row for row in rows if not _is_current(row.sealed, secret, row.about)]
                opened = [(row, _open(row.sealed, secret, row.about)) for row in todo]
                known = [(row, content) for row, content in opened if content is not None]
                if known:
                    async with new_uow() as uow:
                        yield (
                            place.table,
                            await queries.replace(
                                uow.session,
                                place,
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

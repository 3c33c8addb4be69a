"""Write a month of a table to the archive store as compressed CSV, and check it by reading it back.

A *month* is one partition (see ``months.py``). It has two files: ``webhook_event/2024-11.csv.gz``,
and ``webhook_event/2024-11.json`` with the number of rows and the SHA-256. The JSON file is written
last, so it shows that the CSV is complete.
"""

import asyncio
import gzip
import hashlib
import json
import tempfile
import zlib
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import IO

import asyncpg
from sqlalchemy import text

from crm_api.domain.kit.errors import Example, TransientError
from crm_api.domain.messaging.media.store import (
    BUCKET_PART_BYTES,
    CHUNK_BYTES,
    PART_BYTES,
    open_store,
    store_errors,
    sync_to_disk,
)
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory


@dataclass(frozen=True, kw_only=True)
class MonthlyTable:
    """A table with one partition per month, and a second table with the provider's ids of the rows.

    The second table has no partitions, so it keeps the provider's ids unique over all months.

    Attributes:
        name: The name of the table with partitions.
        key: The name of the second table.
        key_id: The column of the second table for the id of the row.
        provider_id: The column for the provider's id, in both tables.
        waits: An SQL condition for rows with unfinished work. A partition that has such a row is
            not dropped.
        archived: The archived columns. They contain nothing that must be erased later.
    """

    name: str
    key: str
    key_id: str
    provider_id: str
    waits: str
    archived: tuple[str, ...]


WEBHOOK_EVENT = MonthlyTable(
    name="webhook_event",
    key="webhook_event_key",
    key_id="event_id",
    provider_id="provider_event_id",
    waits="status IN ('pending', 'failed')",
    archived=(
        "id",
        "provider_event_id",
        "delivery_id",
        "scheme",
        "type",
        "status",
        "attempts",
        "error_code",
        "received_at",
        "processed_at",
        "encode(sha256(convert_to(payload::text, 'UTF8')), 'hex') AS payload_sha256",
    ),
)
ACTIVITY = MonthlyTable(
    name="activity",
    key="activity_key",
    key_id="activity_id",
    provider_id="openphone_id",
    waits="status IN ('queued', 'sending', 'unknown')",
    archived=(
        "id",
        "kind",
        "direction",
        "origin",
        "line_id",
        "conversation_id",
        "contact_id",
        "campaign_id",
        "openphone_id",
        "user_id",
        "status",
        "rank",
        "error_code",
        "occurred_at",
        "created_at",
        "updated_at",
    ),
)
TABLES = (WEBHOOK_EVENT, ACTIVITY)


@dataclass(frozen=True, slots=True)
class Month:
    """The rows of one month: a partition of a table. After it is detached, it is a separate table.

    Attributes:
        name: The name of the partition.
        first_day: The first day of the month. The oldest partition also has all earlier rows.
        is_attached: False if the month was detached and waits to be archived.
    """

    table: MonthlyTable
    name: str
    first_day: date
    is_attached: bool


def month_of(day: date, *, later: int = 0) -> date:
    """Return the first day of the month that is ``later`` months after the month of ``day``.

    A negative number means earlier months.
    """
    months = day.year * 12 + day.month - 1 + later
    return date(months // 12, months % 12 + 1, 1)


_GZIP = 16 + zlib.MAX_WBITS


class ArchiveFailedError(TransientError):
    """The archive store is unavailable, or it did not return what was written to it."""

    code = "archive_not_kept"
    title = "Month not archived"
    example = Example("message_2026_05", "TimeoutError")

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"The archive of {name} could not be stored ({cause}).")


@dataclass(frozen=True, kw_only=True)
class Archived:
    """The description of an archived month.

    Attributes:
        month: The month as ``YYYY-MM``.
        path: The path of the compressed CSV in the archive store.
        sha256: The digest of the CSV before its compression.
        columns: The archived columns. The other columns are lost when the month is dropped.
    """

    table: str
    month: str
    path: str
    rows: int
    sha256: str
    columns: list[str]


def path_of(month: Month) -> str:
    """Return the path of a month's files in the archive store, without the file extension."""
    return f"{month.table.name}/{month.first_day:%Y-%m}"


async def archive_month(
    new_uow: UnitOfWorkFactory, month: Month, *, location: Path | str
) -> Archived:
    """Archive a month that was detached from its table, and read the archive back to check it.

    Raises:
        ArchiveFailedError: The month is not archived. The caller may try again.
    """
    with tempfile.TemporaryFile() as file:
        async with new_uow() as uow:
            archived = await _copy(uow, month, file)
        try:
            await _put(location, archived.path, file)
            await _verify(location, archived)
            with tempfile.TemporaryFile() as note:
                note.write(json.dumps(asdict(archived), indent=2).encode() + b"\n")
                await _put(location, f"{path_of(month)}.json", note)
        except store_errors(zlib.error) as error:
            raise ArchiveFailedError(month.name, type(error).__name__) from error
    return archived


_NO_TIME_LIMIT = text("SET LOCAL statement_timeout = 0")


async def _copy(uow: UnitOfWork, month: Month, file: IO[bytes]) -> Archived:
    """Stream the archived columns of a month into ``file`` as compressed CSV."""
    query = f"SELECT {', '.join(month.table.archived)} FROM {month.name} ORDER BY id"
    digest = hashlib.sha256()
    await uow.session.execute(_NO_TIME_LIMIT)
    raw = await (await uow.session.connection()).get_raw_connection()
    connection = raw.driver_connection
    if not isinstance(connection, asyncpg.Connection):
        raise TypeError("COPY needs a connection of asyncpg")
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:

        async def take(chunk: bytes) -> None:
            digest.update(chunk)
            await asyncio.to_thread(packed.write, chunk)

        status: str = await connection.copy_from_query(
            query, output=take, format="csv", header=True
        )
    return Archived(
        table=month.table.name,
        month=f"{month.first_day:%Y-%m}",
        path=f"{path_of(month)}.csv.gz",
        rows=int(status.rpartition(" ")[2]),
        sha256=digest.hexdigest(),
        columns=[column.rpartition(" ")[2] for column in month.table.archived],
    )


async def _put(location: Path | str, path: str, file: IO[bytes]) -> None:
    """Write a file to the archive store atomically.

    If the store is a directory, the file is also synced to disk.
    """
    file.seek(0)
    is_directory = isinstance(location, Path)
    await open_store(location).put_async(
        path,
        file,
        chunk_size=PART_BYTES if is_directory else BUCKET_PART_BYTES,
        max_concurrency=1,
    )
    if isinstance(location, Path):
        await asyncio.to_thread(sync_to_disk, location / path)


async def _verify(location: Path | str, archived: Archived) -> None:
    """Read an archive back completely, and compare its digest.

    Raises:
        ValueError: The stored archive differs from the data that were written to it.
    """
    unpack, digest = zlib.decompressobj(_GZIP), hashlib.sha256()
    found = await open_store(location).get_async(archived.path)
    async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
        digest.update(unpack.decompress(bytes(chunk)))
    digest.update(unpack.flush())
    if not unpack.eof or digest.hexdigest() != archived.sha256:
        raise ValueError("the stored archive differs from the data that were written to it")

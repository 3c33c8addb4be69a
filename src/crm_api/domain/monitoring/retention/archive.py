"""Write a month to the object store as compressed CSV, and read it back before it counts.

``webhook_event/2024-11.csv.gz``, and beside it ``webhook_event/2024-11.json`` with the number of
rows and the digest of the CSV, which is written last. Writing a month again gives the same files.
"""

import asyncio
import gzip
import hashlib
import json
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import asyncpg
import obstore
from obstore.exceptions import BaseError

from crm_api.domain.kit.errors import TransientError
from crm_api.domain.messaging.media.store import (
    BUCKET_PART_BYTES,
    CHUNK_BYTES,
    PART_BYTES,
    open_store,
    sync_to_disk,
)
from crm_api.domain.monitoring.retention import queries
from crm_api.domain.monitoring.retention.tables import Month
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

_GZIP = 16 + zlib.MAX_WBITS


class ArchiveNotKeptError(TransientError):
    """The store is unavailable, or does not return what was written."""

    code = "archive_not_kept"
    title = "Archive not kept"


@dataclass(frozen=True, kw_only=True)
class Archived:
    """An archived month.

    Attributes:
        sha256: Of the CSV before compression.
        columns: Columns of the archive; the other columns are lost with the row.
    """

    table: str
    month: str
    path: str
    rows: int
    sha256: str
    columns: list[str]


def path_of(month: Month) -> str:
    """Return the path of a month's archive in the store, without the file extension."""
    return f"{month.table.name}/{month.first_day:%Y-%m}"


async def keep(new_uow: UnitOfWorkFactory, month: Month, *, location: Path | str) -> Archived:
    """Write a month that was detached from its table, and check that it can be read.

    Raises:
        ArchiveNotKeptError: The month is not archived; trying again is safe.
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
        except (BaseError, OSError, ValueError, zlib.error) as error:
            raise ArchiveNotKeptError(
                f"The archive of {month.name} cannot be kept ({type(error).__name__})."
            ) from error
    return archived


async def _copy(uow: UnitOfWork, month: Month, file: IO[bytes]) -> Archived:
    """Stream the rows from the database into a compressed file."""
    digest = hashlib.sha256()
    await queries.take_time(uow.session)
    raw = await (await uow.session.connection()).get_raw_connection()
    connection = raw.driver_connection
    if not isinstance(connection, asyncpg.Connection):
        raise TypeError("archives are copied by asyncpg")
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:

        async def take(chunk: bytes) -> None:
            digest.update(chunk)
            await asyncio.to_thread(packed.write, chunk)

        said: str = await connection.copy_from_query(
            queries.copy_query(month), output=take, format="csv", header=True
        )
    return Archived(
        table=month.table.name,
        month=f"{month.first_day:%Y-%m}",
        path=f"{path_of(month)}.csv.gz",
        rows=int(said.rpartition(" ")[2]),
        sha256=digest.hexdigest(),
        columns=[column.rpartition(" ")[2] for column in month.table.archived],
    )


async def _put(location: Path | str, path: str, file: IO[bytes]) -> None:
    """Write a file atomically; in a directory it survives a power cut."""
    file.seek(0)
    is_directory = isinstance(location, Path)
    await obstore.put_async(
        open_store(location),
        path,
        file,
        chunk_size=PART_BYTES if is_directory else BUCKET_PART_BYTES,
        max_concurrency=1,
    )
    if isinstance(location, Path):
        await asyncio.to_thread(sync_to_disk, location / path)


async def _verify(location: Path | str, archived: Archived) -> None:
    """Read the archive back to its end.

    Raises:
        ValueError: It differs from what was written.
    """
    unpack, digest = zlib.decompressobj(_GZIP), hashlib.sha256()
    found = await obstore.get_async(open_store(location), archived.path)
    async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
        digest.update(unpack.decompress(bytes(chunk)))
    digest.update(unpack.flush())
    if not unpack.eof or digest.hexdigest() != archived.sha256:
        raise ValueError("the archive is not what was written")

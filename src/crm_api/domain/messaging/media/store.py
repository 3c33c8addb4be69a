"""The media store: a directory or an S3 bucket, chosen by the setting ``CRM_MEDIA_URL``."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from crm_api.domain.messaging.media.errors import (
    MediaObjectMissingError,
    MediaStoreUnavailableError,
)
from crm_api.platform.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART_BYTES = 1024 * 1024
BUCKET_PART_BYTES = 5 * 1024 * 1024
"""Files are uploaded to S3 in parts of this size, in bytes. S3 accepts no smaller parts. Two or
three parts are in memory at the same time."""
CHUNK_BYTES = 256 * 1024
REQUEST_SECONDS = 30
RETRY_SECONDS = 10
"""How long, in seconds, the library repeats a failed request to the media store. The library's
default of three minutes is longer than the job may run. If all repetitions fail, a later run of the
job fetches the file again."""


class MediaStore:
    """Stores files under the hash of their content; a file is written completely or not at all.

    Args:
        location: A directory, or ``s3://bucket/prefix`` with the usual ``AWS_*`` variables.
    """

    def __init__(self, location: Path | str) -> None:
        self._location = location

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the store for the location in the settings."""
        return cls(settings.media_location)

    async def put(self, sha256: str, file: IO[bytes], *, size_bytes: int) -> None:
        """Store a file under its hash; do nothing if it is already stored with the same size.

        If the store is a directory, a file survives a power failure once this method has returned.

        Raises:
            MediaStoreUnavailableError: The directory or the bucket cannot be written.
        """
        try:
            if await self._size_of(sha256) == size_bytes:
                return
            file.seek(0)
            part = PART_BYTES if isinstance(self._location, Path) else BUCKET_PART_BYTES
            await self._store.put_async(path_of(sha256), file, chunk_size=part, max_concurrency=1)
            if isinstance(self._location, Path):
                await asyncio.to_thread(sync_to_disk, self._location / path_of(sha256))
        except store_errors() as error:
            raise MediaStoreUnavailableError(type(error).__name__) from error

    async def read(self, sha256: str, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Return an iterator over a stored file's bytes from ``start`` to ``end`` (exclusive).

        Raises:
            MediaObjectMissingError: The store does not contain the file.
            MediaStoreUnavailableError: The directory or the bucket cannot be read.
        """
        try:
            found = await self._store.get_async(path_of(sha256), options={"range": (start, end)})
        except FileNotFoundError as error:
            raise MediaObjectMissingError from error
        except store_errors() as error:
            raise MediaStoreUnavailableError(type(error).__name__) from error
        return found.stream(min_chunk_size=CHUNK_BYTES)

    async def remove(self, sha256: str) -> None:
        """Delete a stored file; do nothing if the store does not contain it.

        Raises:
            MediaStoreUnavailableError: The directory or the bucket cannot be written.
        """
        try:
            await self._store.delete_async(path_of(sha256))
        except FileNotFoundError:
            return
        except store_errors() as error:
            raise MediaStoreUnavailableError(type(error).__name__) from error

    async def _size_of(self, sha256: str) -> int | None:
        try:
            return (await self._store.head_async(path_of(sha256)))["size"]
        except FileNotFoundError:
            return None

    @cached_property
    def _store(self) -> "ObjectStore":
        """The store, opened at first use. So a process can start while the store is unavailable."""
        return open_store(self._location)


def store_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the exception types that show that the media store cannot be used.

    Args:
        others: Further exception types, which the caller wants to catch in the same ``except``
            clause. They are added to the result.
    """
    from obstore.exceptions import BaseError  # noqa: PLC0415 - as in ``open_store``

    return BaseError, OSError, ValueError, *others


def open_store(location: Path | str) -> "ObjectStore":
    """Open a directory or a bucket; create the directory if it is missing."""
    from obstore.store import LocalStore, from_url  # noqa: PLC0415 - 4 MB, only to store and send media

    if isinstance(location, Path):
        location.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LocalStore(location)
    return from_url(
        location,
        # HTTP is used only if AWS_ENDPOINT_URL (the address of the S3 server) is an HTTP URL.
        # Amazon's own URLs use HTTPS.
        client_options={"timeout": timedelta(seconds=REQUEST_SECONDS), "allow_http": True},
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


def path_of(sha256: str) -> str:
    """Return the path of a file in the store. The files are spread over 256 folders."""
    return f"{sha256[:2]}/{sha256}"


def sync_to_disk(path: Path) -> None:
    """Flush a file and the two folders above it to disk."""
    for one in (path, path.parent, path.parent.parent):
        handle = os.open(one, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

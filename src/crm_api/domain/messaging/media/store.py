"""The store of files: a directory or an S3 bucket, chosen by one setting."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from crm_api.domain.messaging.media.errors import (
    MediaObjectMissingError,
    MediaStoreUnavailableError,
)
from crm_api.platform.settings import Settings

PART_BYTES = 1024 * 1024
BUCKET_PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 accepts; two or three parts are in memory at once."""
CHUNK_BYTES = 256 * 1024
REQUEST_SECONDS = 30
RETRY_SECONDS = 10
"""The fetch is repeated later anyway. The library's default of three minutes is longer than the
job may run."""


class MediaStore:
    """Stores objects by the hash of their content. An object is written completely or not at all.

    Args:
        location: A directory, or ``s3://bucket/prefix`` with the usual ``AWS_*`` variables.
    """

    def __init__(self, location: Path | str) -> None:
        self._location = location

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Use the location that the settings name."""
        return cls(settings.media_location)

    async def put(self, sha256: str, file: IO[bytes], *, size_bytes: int) -> None:
        """Store a file; do nothing if the object exists with the same size.

        In a directory, the object survives a power failure after this returns.

        Raises:
            MediaStoreUnavailableError: The directory or the bucket cannot be written.
        """
        try:
            if await self._size_of(sha256) == size_bytes:
                return
            file.seek(0)
            part = PART_BYTES if isinstance(self._location, Path) else BUCKET_PART_BYTES
            await obstore.put_async(
                self._store, path_of(sha256), file, chunk_size=part, max_concurrency=1
            )
            if isinstance(self._location, Path):
                await asyncio.to_thread(sync_to_disk, self._location / path_of(sha256))
        except (BaseError, OSError, ValueError) as error:
            raise _unavailable(error) from error

    async def read(self, sha256: str, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Open an object and return its bytes from ``start`` up to, not including, ``end``.

        Raises:
            MediaObjectMissingError: The object does not exist.
            MediaStoreUnavailableError: The directory or the bucket cannot be read.
        """
        try:
            found = await obstore.get_async(
                self._store, path_of(sha256), options={"range": (start, end)}
            )
        except FileNotFoundError as error:
            raise MediaObjectMissingError(
                "The file is known here, but its object is not in the store; restore it from a "
                "backup of CRM_MEDIA_URL."
            ) from error
        except (BaseError, OSError, ValueError) as error:
            raise _unavailable(error) from error
        return found.stream(min_chunk_size=CHUNK_BYTES)

    async def remove(self, sha256: str) -> None:
        """Remove an object; do nothing if it does not exist.

        Raises:
            MediaStoreUnavailableError: The directory or the bucket cannot be written.
        """
        try:
            await obstore.delete_async(self._store, path_of(sha256))
        except FileNotFoundError:
            return
        except (BaseError, OSError, ValueError) as error:
            raise _unavailable(error) from error

    async def _size_of(self, sha256: str) -> int | None:
        try:
            return (await obstore.head_async(self._store, path_of(sha256)))["size"]
        except FileNotFoundError:
            return None

    @cached_property
    def _store(self) -> ObjectStore:
        """Opened at first use, so that a process starts without the store."""
        return open_store(self._location)


def open_store(location: Path | str) -> ObjectStore:
    """Open a directory, created if missing, or a bucket."""
    if isinstance(location, Path):
        location.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LocalStore(location)
    return from_url(
        location,
        # Amazon's own address uses HTTPS. HTTP is only used if AWS_ENDPOINT_URL names it.
        client_options={"timeout": timedelta(seconds=REQUEST_SECONDS), "allow_http": True},
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


def path_of(sha256: str) -> str:
    """Return an object's path; the objects are spread over 256 folders."""
    return f"{sha256[:2]}/{sha256}"


def sync_to_disk(path: Path) -> None:
    """Flush the file and the two folders above it to disk."""
    for one in (path, path.parent, path.parent.parent):
        handle = os.open(one, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unavailable(error: Exception) -> MediaStoreUnavailableError:
    return MediaStoreUnavailableError(
        f"The store of pictures and recordings cannot be used ({type(error).__name__})."
    )

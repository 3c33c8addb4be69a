"""The provider's contacts, brought here page by page; a lost worker's next one goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.openphone.errors import OpenPhoneListError
from crm_api.domain.openphone.listing import Listing
from crm_api.domain.transfer import address_book, queries
from crm_api.domain.transfer import service as transfer
from crm_api.domain.transfer.address_book import CustomField
from crm_api.domain.transfer.errors import EmptyFileError, UploadChangedError, UploadGoneError
from crm_api.domain.transfer.models import ContactImport, ImportSourceKind
from crm_api.domain.transfer.source import examine, sha256_of
from crm_api.domain.transfer.writing import LEASE

_ALL = ""
"""Stands for the page after the last."""
_MAX_BYTES = 512 << 20


@dataclass(frozen=True, kw_only=True)
class Provider:
    """How the provider is asked.

    Attributes:
        take_turn: Returns when a request may begin.
        around: Stands around what is read, and may refuse it.
    """

    lists: Listing
    take_turn: Callable[[], Awaitable[None]]
    around: Callable[[], AbstractAsyncContextManager[None]]


def is_needed(row: ContactImport) -> bool:
    """Tell whether the rows of an import are still at the provider, or some of them."""
    return row.source == ImportSourceKind.OPENPHONE and row.rows_sha256 is None


async def fetch(
    provider: Provider,
    row: ContactImport,
    *,
    new_uow: UnitOfWorkFactory,
    path: Path,
    now: Callable[[], datetime],
    is_over: Callable[[], bool],
) -> bool:
    """Write the provider's contacts to the import's file, and find out what its columns mean.

    Returns:
        False when the time was over, or another worker has gone on with it.

    Raises:
        OpenPhoneBusyError: The provider cannot be read now; what was read stays.
        OpenPhoneRefusedError: It says no.
        OpenPhoneListError: Its list does not come to an end.
        ImportFileError: What was read before is gone, or there is nobody.
        InvalidMappingError: The mapping that was asked for does not fit.
    """
    async with provider.around():
        await provider.take_turn()
        fields = address_book.custom_fields(await provider.lists.contact_fields())
        spool = _Spool(row, new_uow=new_uow, path=path, now=now)
        if not await spool.begin(address_book.header(fields)):
            return False
        if not await _fetch_pages(provider, spool, fields, is_over):
            return False
    await _settle(row, new_uow=new_uow, path=path, now=now)
    return True


async def _fetch_pages(
    provider: Provider,
    spool: "_Spool",
    fields: list[CustomField],
    is_over: Callable[[], bool],
) -> bool:
    while spool.token != _ALL:
        token = spool.token
        await provider.take_turn()
        page = await provider.lists.contacts(token=token)
        if page.next_token is not None and page.next_token == token:
            raise OpenPhoneListError("The list of contacts gave the same page token again.")
        rows = [address_book.row(contact, fields) for contact in page.items]
        if not await spool.add(rows, token=page.next_token or _ALL) or is_over():
            return False
    return True


async def _settle(
    row: ContactImport, *, new_uow: UnitOfWorkFactory, path: Path, now: Callable[[], datetime]
) -> None:
    """Take what was fetched for a file: what its columns mean, and its digest."""
    try:
        detected = await asyncio.to_thread(examine, path, row.mapping)
    except EmptyFileError as error:
        raise EmptyFileError("OpenPhone has no contacts.") from error
    digest = await asyncio.to_thread(sha256_of, path)
    values = {
        "rows_sha256": digest,
        "error": None,
        "lease_until": now() + LEASE,
        **transfer.as_columns(detected),
    }
    async with new_uow() as uow:
        await queries.set_open(uow.session, import_id=row.id, values=values)
    row.mapping, row.rows_sha256 = detected.mapping, digest


class _Spool:
    """The file that grows by pages; its length in the import's row is the checkpoint."""

    def __init__(
        self,
        row: ContactImport,
        *,
        new_uow: UnitOfWorkFactory,
        path: Path,
        now: Callable[[], datetime],
    ) -> None:
        self.size = row.fetched_bytes or 0
        self.token = row.fetch_token
        self._id = row.id
        self._new_uow = new_uow
        self._path = path
        self._now = now

    async def begin(self, header: list[str]) -> bool:
        """Write the header, or look that it still fits; False when somebody else has gone on.

        Raises:
            UploadChangedError: The workspace's custom fields have changed since.
        """
        if not self.size:
            return await self.add([header], token=None)
        content = address_book.as_csv([header])
        if await asyncio.to_thread(self._read, len(content)) != content:
            raise UploadChangedError("OpenPhone's custom fields have changed; import again.")
        return True

    async def add(self, rows: list[list[str]], *, token: str | None) -> bool:
        """Append rows and note where to go on; False when somebody else has gone on.

        The row is held while the file is written, so that no two workers write to it.

        Raises:
            OpenPhoneListError: They are more than any address book has.
            UploadGoneError: What was written before is gone.
        """
        content = address_book.as_csv(rows)
        if self.size + len(content) > _MAX_BYTES:
            raise OpenPhoneListError("The list of contacts does not come to an end.")
        async with self._new_uow() as uow:
            held = await queries.lock(uow.session, import_id=self._id)
            if held is None or held.status not in queries.OPEN or held.fetched_bytes != self.size:
                return False
            await asyncio.to_thread(self._write, content)
            held.byte_size = held.fetched_bytes = self.size + len(content)
            held.fetch_token, held.error = token, None
            held.lease_until, held.updated_at = self._now() + LEASE, self._now()
            await uow.session.flush()
        self.size += len(content)
        self.token = token
        return True

    def _read(self, size: int) -> bytes:
        try:
            with self._path.open("rb") as file:
                return file.read(size)
        except FileNotFoundError as error:
            raise UploadGoneError("What was fetched is gone; import again.") from error

    def _write(self, content: bytes) -> None:
        """Write behind the checkpoint; what a lost worker had written there goes."""
        if not self.size:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(content)
            return
        try:
            with self._path.open("r+b") as file:
                if file.seek(0, 2) < self.size:
                    raise UploadGoneError("A part of what was fetched is gone; import again.")
                file.seek(self.size)
                file.truncate()
                file.write(content)
        except FileNotFoundError as error:
            raise UploadGoneError("What was fetched is gone; import again.") from error

"""Fetch the provider's contacts page by page, and write a CSV file, which is then imported.

A checkpoint is stored after each page, so that another worker can continue after a crash. One
contact is one row, and each custom field is a column::

    First name,Last name,…,Phone number,Phone 2,Phone 3,OpenPhone id,External id,Roof
    Ada,Rossi,…,+16175550123,,,664d0db69fcac7cf2e6ec,,slate
"""

import asyncio
import csv
import io
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from crm_api.domain.imports.contacts import service as contact_imports
from crm_api.domain.imports.contacts.models import CONTACT_IMPORTS, ContactImport, ImportSourceKind
from crm_api.domain.imports.contacts.source import examine_file, sha256_of
from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.errors import EmptyFileError, UploadChangedError, UploadGoneError
from crm_api.domain.imports.files.models import OPEN
from crm_api.domain.imports.files.runs import LEASE
from crm_api.domain.provider.openphone.errors import OpenPhoneListError
from crm_api.domain.provider.openphone.json_values import items, mapping, text
from crm_api.domain.provider.openphone.listing import Listing
from crm_api.platform.database import UnitOfWorkFactory

_NAMES = ("First name", "Last name", "Company", "Role")
_MEMBERS = ("firstName", "lastName", "company", "role")
_EMAILS = 2
_PHONES = 3
HEADER = (
    *_NAMES,
    *("Email", "Email 2"),
    *("Phone number", "Phone 2", "Phone 3"),
    *("OpenPhone id", "External id"),
)


_ALL = ""
"""The value of ``fetch_token`` when all pages were fetched."""
_MAX_BYTES = 512 << 20
_LOST = "The file with the fetched contacts is missing or incomplete. Start a new import."


@dataclass(frozen=True)
class CustomField:
    """A custom contact field that is defined in the workspace at the provider."""

    key: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Provider:
    """The functions with which the provider's contacts are read.

    Attributes:
        take_turn: Waits until the rate limit allows the next request.
        around: Returns a context manager. Requests are sent only inside its ``with`` block. If no
            request may be sent now, the context manager raises an error before the block runs.
    """

    lists: Listing
    take_turn: Callable[[], Awaitable[None]]
    around: Callable[[], AbstractAsyncContextManager[None]]


def needs_fetch(row: ContactImport) -> bool:
    """Return True if rows of an import must still be fetched from the provider."""
    return row.source == ImportSourceKind.OPENPHONE and row.rows_sha256 is None


async def fetch_contacts(
    provider: Provider,
    row: ContactImport,
    *,
    new_uow: UnitOfWorkFactory,
    path: Path,
    now: Callable[[], datetime],
    is_over: Callable[[], bool],
) -> bool:
    """Write the provider's contacts to the import's file, and map the file's columns to fields.

    Args:
        is_over: Called after each page. If it returns True, this function stops. The next call of
            this function continues with the next page.

    Returns:
        False if ``is_over`` returned True, another worker has continued the import, or the import
        was cancelled.

    Raises:
        OpenPhoneBusyError: The provider cannot be read now. Pages already written stay stored.
        OpenPhoneRefusedError: The provider refused the request.
        OpenPhoneListError: The provider returned the same page twice, or its list is too large.
        ImportFileError: The file is missing or has lost rows, the custom fields have changed, or
            the provider has no contacts.
        InvalidMappingError: The user's mapping does not fit the columns.
    """
    async with provider.around():
        await provider.take_turn()
        fields = read_custom_fields(await provider.lists.contact_fields())
        spool = _Spool(row, new_uow=new_uow, path=path, now=now)
        if not await spool.begin(header_row(fields)):
            return False
        if not await _fetch_pages(provider, spool, fields, is_over):
            return False
    await _examine_rows(row, new_uow=new_uow, path=path, now=now)
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
            raise OpenPhoneListError(
                "OpenPhone returned the same page of contacts twice. Start the import again later."
            )
        rows = [contact_row(contact, fields) for contact in page.items]
        if not await spool.add(rows, token=page.next_token or _ALL) or is_over():
            return False
    return True


async def _examine_rows(
    row: ContactImport, *, new_uow: UnitOfWorkFactory, path: Path, now: Callable[[], datetime]
) -> None:
    """Find the contact field of each fetched column; store the result and the file's digest."""
    try:
        detected = await asyncio.to_thread(examine_file, path, row.mapping)
    except EmptyFileError as error:
        raise EmptyFileError(
            "OpenPhone has no contacts to import. Upload a file instead."
        ) from error
    digest = await asyncio.to_thread(sha256_of, path)
    values = {
        "rows_sha256": digest,
        "error": None,
        "lease_until": now() + LEASE,
        **contact_imports.as_columns(detected),
    }
    async with new_uow() as uow:
        await runs.update_open(uow.session, CONTACT_IMPORTS, import_id=row.id, values=values)
    row.mapping, row.rows_sha256 = detected.mapping, digest


class _Spool:
    """The CSV file to which each page of the provider's contacts is appended.

    The database row of the import stores the length of the file as the checkpoint. After a crash,
    a worker continues to write at the checkpoint.
    """

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
        """Write the column names as the first line of the CSV file, or check its first line.

        If the file is new, the line is written. If not, the first line must contain these names.

        Returns:
            False if another worker has continued the import, or if the import was cancelled.

        Raises:
            UploadChangedError: The custom fields in OpenPhone were changed during the import, so
                the first line differs.
            UploadGoneError: The CSV file is missing.
        """
        if not self.size:
            return await self.add([header], token=None)
        content = csv_lines([header])
        if await asyncio.to_thread(self._read, len(content)) != content:
            raise UploadChangedError(
                "The custom fields in OpenPhone changed during the import. Start a new import."
            )
        return True

    async def add(self, rows: list[list[str]], *, token: str | None) -> bool:
        """Append rows to the CSV file, and store the token of the provider's next page.

        The import's row is locked, so that two workers never write to the file at the same time.

        Args:
            token: ``_ALL`` if there is no next page.

        Returns:
            False if another worker has continued the import, or if the import was cancelled.

        Raises:
            OpenPhoneListError: The contacts take more than 512 MiB.
            UploadGoneError: The CSV file is missing, or is shorter than the checkpoint.
        """
        content = csv_lines(rows)
        if self.size + len(content) > _MAX_BYTES:
            raise OpenPhoneListError(
                "The contacts in OpenPhone take more than 512 MiB, the limit of an import. Import "
                "them from files instead."
            )
        async with self._new_uow() as uow:
            held = await runs.lock_import(uow.session, CONTACT_IMPORTS, import_id=self._id)
            if held is None or held.status not in OPEN or held.fetched_bytes != self.size:
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
            raise UploadGoneError(_LOST) from error

    def _write(self, content: bytes) -> None:
        """Write ``content`` to the file, directly after the checkpoint.

        The checkpoint is the length of the file that is stored in the database. Before the write,
        this method removes everything after the checkpoint, because a crashed worker may have
        written it.

        Raises:
            UploadGoneError: The CSV file is missing, or is shorter than the checkpoint.
        """
        if not self.size:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(content)
            return
        try:
            with self._path.open("r+b") as file:
                if file.seek(0, 2) < self.size:
                    raise UploadGoneError(_LOST)
                file.seek(self.size)
                file.truncate()
                file.write(content)
        except FileNotFoundError as error:
            raise UploadGoneError(_LOST) from error


def read_custom_fields(listed: Sequence[object]) -> list[CustomField]:
    """Return the custom fields in the provider's list; leave out fields without a key."""
    fields = []
    for one in map(mapping, listed):
        key = text(one.get("key"))
        if key is not None:
            fields.append(CustomField(key=key, name=text(one.get("name")) or key))
    return fields


def header_row(fields: Sequence[CustomField]) -> list[str]:
    """Return the column names of the CSV: fixed names, then one name for each custom field."""
    return [*HEADER, *(field.name for field in fields)]


def contact_row(contact: object, fields: Sequence[CustomField]) -> list[str]:
    """Return a contact as a row of the CSV file.

    If a contact has more phone numbers than phone columns, the last phone column contains all
    remaining numbers, joined by ``; ``. The same is true for e-mail addresses.
    """
    whole = mapping(contact)
    known = mapping(whole.get("defaultFields"))
    custom = {
        text(one.get("key")): one.get("value")
        for one in map(mapping, items(whole.get("customFields")))
    }
    return [
        *(_cell(known.get(member)) for member in _MEMBERS),
        *_cells(known.get("emails"), _EMAILS),
        *_cells(known.get("phoneNumbers"), _PHONES),
        _cell(whole.get("id")),
        _cell(whole.get("externalId")),
        *(_cell(custom.get(field.key)) for field in fields),
    ]


def csv_lines(rows: Sequence[Sequence[str]]) -> bytes:
    """Return rows as CSV lines in UTF-8."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def _cells(listed: object, columns: int) -> list[str]:
    values = [_cell(one.get("value")) for one in map(mapping, items(listed))]
    filled = [value for value in values if value]
    last = "; ".join(filled[columns - 1 :])
    return [*filled[: columns - 1], *[""] * (columns - 1 - len(filled)), last]


def _cell(value: object) -> str:
    """Return a value as one line of text.

    The items of a list are joined by ``; ``, the parts of an object by ``,``.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(filter(None, map(_cell, value)))
    if isinstance(value, dict):
        return ", ".join(filter(None, map(_cell, value.values())))
    return " ".join((text(value) or "").split())

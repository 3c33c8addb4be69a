"""Convert a workbook (XLSX) to CSV, within limits of size, memory and time.

An XLSX file is a zip archive. A small archive may contain a sheet that is larger than the memory.
So the sizes in the directory of the archive are checked first. Then a separate process with limits
of memory and time unpacks the archive.
"""

import asyncio
import contextlib
import sys
import zipfile
from pathlib import Path

import orjson

from crm_api.domain.imports.files.errors import (
    USE_CSV,
    NotCsvError,
    WorkbookTooLargeError,
    file_error,
)

MAX_UNPACKED_BYTES = 768 << 20
MAX_RATIO = 200
"""Maximum ratio of unpacked to packed size, for each file in the archive. A file of repeated words
has a ratio of about 100, and a zip bomb has a ratio of about 1,000."""
_RATIO_MATTERS_FROM = 8 << 20
_MAX_ENTRIES = 10_000
TIMEOUT_SECONDS = 120.0
_ZIP_START = b"PK\x03\x04"
_WORKBOOK_PART = "xl/workbook.xml"
_ONE_AT_A_TIME = asyncio.Semaphore(1)
"""Workbooks are unpacked one at a time, because each may need much memory."""


def is_workbook(path: Path) -> bool:
    """Return True if the content of a file is an XLSX workbook.

    Raises:
        NotCsvError: The file is another kind of zip archive, or a damaged one.
        WorkbookTooLargeError: The workbook would be too large after unpacking, or is compressed so
            strongly that it must be a zip bomb.
    """
    with path.open("rb") as file:
        if file.read(len(_ZIP_START)) != _ZIP_START:
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise NotCsvError(f"The file is a zip archive that cannot be read. {USE_CSV}") from error
    if _WORKBOOK_PART not in {entry.filename for entry in entries}:
        raise NotCsvError(
            "The file is a zip archive, not a workbook. Unpack the archive and upload the CSV file "
            "in it."
        )
    _check_size(entries)
    return True


async def convert(path: Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[str]:
    """Replace a workbook file with a CSV file in UTF-8.

    The CSV file has the rows of the first visible sheet that has rows.

    Returns:
        Notes for the user, as sentences.

    Raises:
        ImportFileError: The workbook cannot be read, or has no rows.
        WorkbookTooLargeError: Unpacking the workbook needs more memory or time than allowed.
    """
    async with _ONE_AT_A_TIME:
        return await _convert(path, timeout_seconds)


async def _convert(path: Path, timeout_seconds: float) -> list[str]:
    target = path.with_suffix(".rows")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "crm_api.domain.imports.files.workbook_process",
        str(path),
        str(target),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            output, _ = await process.communicate()
        if process.returncode or not output:
            raise _too_large()
        answer = orjson.loads(output)
        if "error" in answer:
            raise file_error(**answer["error"])
        await asyncio.to_thread(target.replace, path)
    except TimeoutError as error:
        raise _too_large() from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(target.unlink)
    notes: list[str] = answer["notes"]
    return notes


def _check_size(entries: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    dense = any(
        entry.file_size > _RATIO_MATTERS_FROM
        and entry.file_size > MAX_RATIO * max(entry.compress_size, 1)
        for entry in entries
    )
    if unpacked > MAX_UNPACKED_BYTES or dense or len(entries) > _MAX_ENTRIES:
        raise _too_large()


def _too_large() -> WorkbookTooLargeError:
    return WorkbookTooLargeError()

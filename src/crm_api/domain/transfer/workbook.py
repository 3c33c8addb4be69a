"""A workbook (XLSX) to the rows of a CSV: told by its content, and never unpacked unseen.

What a zip archive says of itself is looked at first. It is then unpacked by a process of its own,
under limits of memory and time, because a small file may hold a sheet that fills any memory.
"""

import asyncio
import contextlib
import sys
import zipfile
from pathlib import Path

import orjson

from crm_api.domain.transfer.errors import NotCsvError, WorkbookTooLargeError, file_error

MAX_UNPACKED_BYTES = 768 << 20
MAX_RATIO = 200
"""A sheet of the same words over and over packs to a hundredth; a bomb to a thousandth."""
_RATIO_MATTERS_FROM = 8 << 20
_MAX_ENTRIES = 10_000
TIMEOUT_SECONDS = 120.0
_ZIP_START = b"PK\x03\x04"
_WORKBOOK_PART = "xl/workbook.xml"
_ONE_AT_A_TIME = asyncio.Semaphore(1)
"""A workbook may take much memory for a moment; two would take twice as much."""


def is_workbook(path: Path) -> bool:
    """Tell by its content whether a file is an XLSX workbook.

    Raises:
        NotCsvError: It is another kind of zip archive.
        WorkbookTooLargeError: Unpacked it would be too large, or is packed as only a bomb is.
    """
    with path.open("rb") as file:
        if file.read(len(_ZIP_START)) != _ZIP_START:
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise NotCsvError("The file is a zip archive that cannot be read.") from error
    if _WORKBOOK_PART not in {entry.filename for entry in entries}:
        raise NotCsvError("The file is a zip archive and no workbook; unpack it and try again.")
    _check_size(entries)
    return True


async def convert(path: Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[str]:
    """Replace a workbook by the rows of its first sheet that has any, as CSV in UTF-8.

    Returns:
        Sentences for the user, such as which sheet of several was read.

    Raises:
        ImportFileError: It cannot be read, or holds no rows.
        WorkbookTooLargeError: It takes more memory or time than a workbook may.
    """
    async with _ONE_AT_A_TIME:
        return await _convert(path, timeout_seconds)


async def _convert(path: Path, timeout_seconds: float) -> list[str]:
    target = path.with_suffix(".rows")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "crm_api.domain.transfer.workbook_process",
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
    return WorkbookTooLargeError(
        "The workbook is too large to be unpacked here; export its sheet as CSV and try again."
    )

"""The file of a backup: a tar archive, encrypted by age, written and read as a stream.

``age -d -i KEY FILE | tar x`` opens one without this program. Members, in this order:
``manifest.json``; ``secret-key`` when the data directory had one; ``media/<sha256>``;
``database/00000`` and on, the output of ``pg_dump --format=custom``, in parts, because its length
is known only at its end. Encryption also authenticates: a file that was truncated or changed does
not open.
"""

import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Self

import pyrage

from crm_api.domain.monitoring.backups.errors import BackupError

PART_BYTES = 8 * 1024 * 1024


class ArchiveWriter:
    """Adds members to an open archive."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, content: bytes) -> None:
        """Add a member."""
        member = tarfile.TarInfo(name)
        member.size = len(content)
        member.mode = 0o600
        self._tar.addfile(member, io.BytesIO(content))


@contextmanager
def writing(file: IO[bytes], recipients: list[pyrage.x25519.Recipient]) -> Iterator[ArchiveWriter]:
    """Open an archive for the length of the block; ``file`` is complete after the block.

    Raises:
        BackupError: The file cannot be written.
    """
    read_end, write_end = os.pipe()
    with _Cipher(lambda: _encrypt(read_end, file, recipients)) as cipher:
        try:
            with (
                os.fdopen(write_end, "wb", buffering=PART_BYTES) as plain,
                tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as tar,
            ):
                yield ArchiveWriter(tar)
        except BrokenPipeError:
            cipher.raise_its_own()
            raise


@contextmanager
def reading(
    file: IO[bytes], identities: list[pyrage.x25519.Identity]
) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Open an archive for the length of the block; read each member before the next one.

    Raises:
        BackupError: The key does not open it, or it was truncated or changed.
    """
    read_end, write_end = os.pipe()
    with (
        _Cipher(lambda: _decrypt(file, write_end, identities)) as cipher,
        os.fdopen(read_end, "rb", buffering=PART_BYTES) as plain,
    ):
        try:
            with tarfile.open(fileobj=plain, mode="r|") as tar:
                yield _members(tar)
        except (tarfile.TarError, EOFError):
            cipher.raise_its_own()
            raise BackupError("the file is not a backup of this program") from None


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in tar:
        content = tar.extractfile(member)
        if content is not None:
            yield member.name, content


class _Cipher:
    """The other end of the pipe, in a thread; its error is raised at the end of the block."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="backup cipher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._thread.join()
        if kind is None:
            self.raise_its_own()

    def raise_its_own(self) -> None:
        """Raise the thread's error, if any: it is the cause of the other end's error."""
        self._thread.join()
        failure = self._failure
        if isinstance(failure, pyrage.DecryptError):
            raise BackupError("the key does not open this backup; name the key file it is for")
        if failure is not None:
            raise BackupError(f"the backup cannot be written or read to its end: {failure}")

    def _run(self) -> None:
        try:
            self._work()
        except BrokenPipeError:
            return  # the reader has stopped, and raises its own error
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits for this one
            self._failure = error


def _encrypt(read_end: int, file: IO[bytes], recipients: list[pyrage.x25519.Recipient]) -> None:
    with os.fdopen(read_end, "rb") as plain:
        pyrage.encrypt_io(plain, file, recipients)


def _decrypt(file: IO[bytes], write_end: int, identities: list[pyrage.x25519.Identity]) -> None:
    with os.fdopen(write_end, "wb") as plain:
        pyrage.decrypt_io(file, plain, identities)

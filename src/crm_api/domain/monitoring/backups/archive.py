"""Write and read the file of a backup: a tar archive, encrypted with the tool ``age``.

``age -d -i KEY FILE | tar x`` opens a backup without crm-api. The archive has these members, in
this order:

- ``manifest.json``;
- ``secret-key``, if the data directory has one;
- ``media/<sha256>`` for each media file;
- ``database/00000``, ``database/00001`` and so on: the split output of ``pg_dump --format=custom``.

A backup that was truncated or changed cannot be decrypted.
"""

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Literal, Self

import pyrage
from pydantic import BaseModel, ConfigDict, ValidationError

from crm_api.domain.kit.schemas import Instant
from crm_api.platform.processes import StartError


class BackupError(StartError):
    """A backup cannot be made or restored, or a service cannot be moved to another database."""


FORMAT: Literal[1] = 1


class Manifest(BaseModel):
    """The description of a backup: what it contains and what a restore needs."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1]
    made_at: Instant
    """The time of the data. The backup does not contain changes after this time."""
    program: str
    """The version of crm-api that made the backup."""
    revision: str
    """The revision of the database schema."""
    server: str
    """The version of PostgreSQL."""
    secret_key_digest: str
    """The digest of the secret key. A restore needs this key, because encrypted values and hashes
    in the database depend on it."""
    tables: dict[str, int]
    """The number of rows in each table."""
    media_files: int
    media_bytes: int

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Parse the content of ``manifest.json``.

        Raises:
            BackupError: This release does not know the format of the backup.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            raise BackupError(
                "this release cannot read the description of the backup; restore it with the "
                "release that made it"
            ) from None


def digest_of(secret_key: bytes) -> str:
    """Return a digest by which two secret keys can be compared without revealing them."""
    return hashlib.sha256(b"crm-api backup\0" + secret_key).hexdigest()


PART_BYTES = 8 * 1024 * 1024


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file with the mode 0600: after the extraction, only its owner can read it."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o600
    tar.addfile(member, io.BytesIO(content))


@contextmanager
def writing(
    file: IO[bytes], recipients: list[pyrage.x25519.Recipient]
) -> Iterator[tarfile.TarFile]:
    """Open an encrypted archive in a ``with`` block, for calls of ``add_member``.

    The archive is complete when the block has ended without an error.

    Args:
        file: The open file.
        recipients: The public keys whose owners can decrypt the archive.

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
                yield tar
        except BrokenPipeError:
            cipher.raise_its_own()
            raise


@contextmanager
def reading(
    file: IO[bytes], identities: list[pyrage.x25519.Identity]
) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Decrypt an archive in a ``with`` block, and yield its members: names and contents.

    The caller must read each member before it asks for the next member.

    Raises:
        BackupError: The file is not a backup, it was truncated or changed, or no key decrypts it.
    """
    read_end, write_end = os.pipe()
    with (
        _Cipher(lambda: _decrypt(file, write_end, identities)) as cipher,
        os.fdopen(read_end, "rb", buffering=PART_BYTES) as plain,
    ):
        try:
            with tarfile.open(fileobj=plain, mode="r|") as tar:
                yield _members(tar, plain, cipher)
        except (tarfile.TarError, EOFError):
            cipher.raise_its_own()
            raise BackupError("this file is not a backup of crm-api; choose another file") from None


def _members(
    tar: tarfile.TarFile, plain: IO[bytes], cipher: "_Cipher"
) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and the content of each member (file) of a decrypted archive.

    The iteration ends normally only if the whole archive was decrypted without an error.
    """
    for member in tar:
        content = tar.extractfile(member)
        if content is not None:
            yield member.name, content
    while plain.read(PART_BYTES):
        pass
    cipher.raise_its_own()


class _Cipher:
    """Runs the encryption or decryption of an archive in a separate thread.

    Use it in a ``with`` block. A pipe connects the thread with the code of the block. An error of
    the thread is raised at the end of the block.
    """

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
        """Wait for the thread that encrypts or decrypts; raise a ``BackupError`` if it failed.

        If the thread fails, the caller's reading or writing of the archive fails too. But only the
        error of the thread contains the reason.
        """
        self._thread.join()
        failure = self._failure
        if isinstance(failure, pyrage.DecryptError):
            raise BackupError(
                "the key does not open this backup; use the key file that belongs to the "
                "--recipient of the backup"
            )
        if failure is not None:
            raise BackupError(f"the backup cannot be written or read completely: {failure}")

    def _run(self) -> None:
        try:
            self._work()
        except BrokenPipeError:
            # The code that reads from the pipe has stopped, and raises its own error.
            return
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits for this one
            self._failure = error


def _encrypt(read_end: int, file: IO[bytes], recipients: list[pyrage.x25519.Recipient]) -> None:
    with os.fdopen(read_end, "rb") as plain:
        pyrage.encrypt_io(plain, file, recipients)


def _decrypt(file: IO[bytes], write_end: int, identities: list[pyrage.x25519.Identity]) -> None:
    with os.fdopen(write_end, "wb") as plain:
        pyrage.decrypt_io(file, plain, identities)

"""Keys of backups, by age (https://age-encryption.org/v1); a server has only the public key.

A key file has the format of ``age-keygen``, or that format encrypted with a passphrase as by
``age -p``; both programs read and write these files too.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pyrage

from crm_api.domain.monitoring.backups.errors import BackupError

_ENCRYPTED = (b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----")
_SECRET = "AGE-SECRET-KEY-1"  # noqa: S105 - how a line with a key begins


def new_key(path: Path, *, passphrase: str) -> str:
    """Write a new key file (mode 0600), encrypted with the passphrase; return its recipient.

    Args:
        path: Must not exist.
        passphrase: If empty, the file is not encrypted.

    Raises:
        BackupError: The file exists, or cannot be written.
    """
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    text = f"# public key: {recipient}\n{identity}\n".encode()
    if passphrase:
        text = pyrage.passphrase.encrypt(text, passphrase)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BackupError(f"{path} exists; a key is never overwritten, name another file") from None
    except OSError as error:
        raise BackupError(f"{path} cannot be written ({error.strerror})") from None
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    return recipient


def read_recipients(texts: Sequence[str]) -> list[pyrage.x25519.Recipient]:
    """Parse public keys.

    Raises:
        BackupError: One of them is not a public key.
    """
    try:
        return [pyrage.x25519.Recipient.from_str(text.strip()) for text in texts]
    except pyrage.RecipientError:
        raise BackupError(
            "--recipient takes a public key, age1…; `crm-api backup --new-key FILE` makes one"
        ) from None


def read_identities(
    path: Path, *, ask_passphrase: Callable[[], str]
) -> list[pyrage.x25519.Identity]:
    """Read the secret keys of a key file.

    Args:
        path: The file.
        ask_passphrase: Called when the file is encrypted.

    Raises:
        BackupError: It cannot be read, has no key, or the passphrase is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BackupError(f"the key file {path} cannot be read ({error.strerror})") from None
    if content.startswith(_ENCRYPTED):
        try:
            content = pyrage.passphrase.decrypt(content, ask_passphrase())
        except pyrage.DecryptError:
            raise BackupError(f"the passphrase does not open {path}; try again") from None
    lines = content.decode(errors="replace").splitlines()
    keys = [line.strip() for line in lines if line.strip().upper().startswith(_SECRET)]
    try:
        found = [pyrage.x25519.Identity.from_str(key) for key in keys]
    except pyrage.IdentityError:
        found = []
    if not found:
        raise BackupError(f"{path} holds no secret key of age; it is the file of --new-key")
    return found

"""Create and read the keys with which backups are encrypted (https://age-encryption.org/v1).

A server needs only the public key (the *recipient*), so it cannot read its own backups. A key file
with the secret key has the format of ``age-keygen``. It may be encrypted with a passphrase, as
``age -p`` does.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pyrage

from crm_api.domain.monitoring.backups.archive import BackupError

_ENCRYPTED = (b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----")
_SECRET = "AGE-SECRET-KEY-1"  # noqa: S105 - the beginning of a line with a key


def new_key(path: Path, *, passphrase: str) -> str:
    """Create a key pair, write the key file (mode 0600), and return the public key.

    Args:
        path: The key file, which must not exist.
        passphrase: Encrypts the key file; if empty, the file is not encrypted.

    Raises:
        BackupError: The file exists, or it cannot be written.
    """
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    text = f"# public key: {recipient}\n{identity}\n".encode()
    if passphrase:
        text = pyrage.passphrase.encrypt(text, passphrase)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BackupError(
            f"{path} exists, and a key file is never overwritten; choose another file name"
        ) from None
    except OSError as error:
        raise BackupError(f"{path} cannot be written ({error.strerror})") from None
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    return recipient


def read_recipients(texts: Sequence[str]) -> list[pyrage.x25519.Recipient]:
    """Parse public keys (``age1…``).

    Raises:
        BackupError: A text is not a public key.
    """
    try:
        return [pyrage.x25519.Recipient.from_str(text.strip()) for text in texts]
    except pyrage.RecipientError:
        raise BackupError(
            "--recipient must be a public key (age1…); `crm-api backup --new-key FILE` creates one"
        ) from None


def read_identities(
    path: Path, *, ask_passphrase: Callable[[], str]
) -> list[pyrage.x25519.Identity]:
    """Read the secret keys from a key file.

    Args:
        path: The key file.
        ask_passphrase: Returns the passphrase; it is called only if the file is encrypted.

    Raises:
        BackupError: The file cannot be read or has no secret key, or the passphrase is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BackupError(f"the key file {path} cannot be read ({error.strerror})") from None
    if content.startswith(_ENCRYPTED):
        try:
            content = pyrage.passphrase.decrypt(content, ask_passphrase())
        except pyrage.DecryptError:
            raise BackupError(f"the passphrase does not open the key file {path}") from None
    lines = content.decode(errors="replace").splitlines()
    keys = [line.strip() for line in lines if line.strip().upper().startswith(_SECRET)]
    try:
        found = [pyrage.x25519.Identity.from_str(key) for key in keys]
    except pyrage.IdentityError:
        found = []
    if not found:
        raise BackupError(
            f"{path} has no secret key of the encryption tool `age`; use the file that "
            "`crm-api backup --new-key` wrote"
        )
    return found

"""Encrypt secrets that must be stored and read again, with a key derived from the secret key."""

import os
from functools import lru_cache
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12
_FORMAT = b"\x01"
"""The first byte, so that another cipher can be introduced later."""


class UnsealError(Exception):
    """The text was sealed under another secret key or for another purpose, or was changed."""


class Secret(bytes):
    """Secret of a service whose secret key may have been replaced.

    The bytes are the root: they key hashes that cannot be computed again, so they never change.
    ``seals`` are the secret keys that can open sealed texts; the first one seals.
    """

    seals: tuple[bytes, ...]

    def __new__(cls, root: bytes, *, seals: tuple[bytes, ...]) -> Self:
        """Take the root and the keys."""
        made = super().__new__(cls, root)
        made.seals = seals
        return made


def seal(text: str, *, secret: bytes, about: str) -> bytes:
    """Encrypt a text; each call returns different bytes.

    Args:
        secret: The secret; the sealing key is derived from it.
        about: The purpose of the text; ``unseal`` needs the same value.
    """
    nonce = os.urandom(NONCE_BYTES)
    sealed = _cipher(_seals(secret)[0]).encrypt(nonce, text.encode(), about.encode())
    return _FORMAT + nonce + sealed


def unseal(sealed: bytes, *, secret: bytes, about: str) -> str:
    """Return the text, decrypted by the first of the keys that opens it.

    Raises:
        UnsealError: The secret key or ``about`` differs, or the bytes were changed.
    """
    if sealed[:1] != _FORMAT:
        raise UnsealError("It was not sealed by this program.")
    for key in _seals(secret):
        try:
            return _decrypt(sealed, key, about)
        except (InvalidTag, ValueError):
            continue
    raise UnsealError("It was sealed under another CRM_SECRET_KEY.")


def is_under(sealed: bytes, *, key: bytes, about: str) -> bool:
    """Return True if exactly this secret key opens it."""
    try:
        _decrypt(sealed, key, about)
    except (InvalidTag, ValueError):
        return False
    return True


def _decrypt(sealed: bytes, key: bytes, about: str) -> str:
    nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    return _cipher(key).decrypt(nonce, body, about.encode()).decode()


def _seals(secret: bytes) -> tuple[bytes, ...]:
    return secret.seals if isinstance(secret, Secret) else (secret,)


@lru_cache(maxsize=8)
def _cipher(secret: bytes) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"crm-api sealed secrets")
    return AESGCM(derived.derive(secret))

"""Secrets that must be kept and read again, sealed under a key derived from the secret key."""

import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12
_FORMAT = b"\x01"
"""The first byte, so that another cipher can come one day."""


class UnsealError(Exception):
    """It was sealed under another secret key, for another purpose, or was changed."""


def seal(text: str, *, secret: bytes, about: str) -> bytes:
    """Encrypt a text; the same text gives other bytes each time.

    Args:
        secret: The secret key; the sealing key is derived from it.
        about: What the text is for; it must be named again to read it.
    """
    nonce = os.urandom(NONCE_BYTES)
    sealed = _cipher(secret).encrypt(nonce, text.encode(), about.encode())
    return _FORMAT + nonce + sealed


def unseal(sealed: bytes, *, secret: bytes, about: str) -> str:
    """Return the text.

    Raises:
        UnsealError: The secret key or ``about`` is another one, or the bytes were changed.
    """
    nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        if sealed[:1] != _FORMAT:
            raise UnsealError("It was not sealed by this program.")
        return _cipher(secret).decrypt(nonce, body, about.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise UnsealError("It was sealed under another CRM_SECRET_KEY.") from error


@lru_cache(maxsize=4)
def _cipher(secret: bytes) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"crm-api sealed secrets")
    return AESGCM(derived.derive(secret))

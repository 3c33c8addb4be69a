"""Encrypt secrets before they are stored (seal), and decrypt them (unseal), with AES-GCM.

The encryption key is derived from the service's secret key (``CRM_SECRET_KEY``).
"""

import hashlib
import os
from functools import lru_cache
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12
_FORMAT = b"\x01"
"""First byte of every encrypted value. It identifies the cipher, so that later releases can use
another cipher."""


def hash_token(token: str) -> bytes:
    """Return the SHA-256 hash that is stored for a token. A random token needs no slow hash."""
    return hashlib.sha256(token.encode()).digest()


class UnsealError(Exception):
    """The bytes cannot be decrypted: the key or purpose differs, or the bytes were changed."""


class Secret(bytes):
    """The root secret of the service, together with the secret keys of the service.

    The bytes are the root secret: the first secret key that the service used. Stored hashes are
    computed with it. When the operator replaces ``CRM_SECRET_KEY``, the root secret must stay the
    same.

    Attributes:
        seals: The secret keys for stored values. The first key encrypts and decrypts; the other
            keys only decrypt.
    """

    seals: tuple[bytes, ...]

    def __new__(cls, root: bytes, *, seals: tuple[bytes, ...]) -> Self:
        """Create an object with the bytes of ``root`` and the attribute ``seals``."""
        made = super().__new__(cls, root)
        made.seals = seals
        return made


def seal(text: str, *, secret: bytes, about: str) -> bytes:
    """Encrypt a text; the result differs each time, even for the same text.

    Args:
        text: The text to encrypt.
        secret: The secret from which the encryption key is derived.
        about: The purpose of the text; ``unseal`` needs the same value.
    """
    nonce = os.urandom(NONCE_BYTES)
    sealed = _cipher(_seals(secret)[0]).encrypt(nonce, text.encode(), about.encode())
    return _FORMAT + nonce + sealed


def unseal(sealed: bytes, *, secret: bytes, about: str) -> str:
    """Decrypt a text that ``seal`` encrypted. Try the keys of ``secret`` one after the other.

    Raises:
        UnsealError: No key decrypts the bytes, the bytes were changed, or ``about`` is not the
            purpose for which they were encrypted.
    """
    if sealed[:1] != _FORMAT:
        raise UnsealError("The value was not encrypted by this program.")
    for key in _seals(secret):
        try:
            return _decrypt(sealed, key, about)
        except (InvalidTag, ValueError):
            continue
    raise UnsealError(
        "No known secret key decrypts the value. Add the CRM_SECRET_KEY that encrypted it to "
        "CRM_OTHER_SECRET_KEYS."
    )


def is_under(sealed: bytes, *, key: bytes, about: str) -> bool:
    """Return True if ``sealed`` was encrypted with the key ``key`` for the purpose ``about``."""
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

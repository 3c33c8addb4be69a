"""The text of an API key: a fixed prefix, random characters, a checksum that scanners verify.

``crm_`` and 46 letters and digits: 40 random ones (238 bits), then the CRC-32 of those 40 in base
62. A scanner of secrets finds a key by ``PATTERN`` and tells a real one from a look-alike by its
checksum, without asking anybody.
"""

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "crm_"
RANDOM_CHARACTERS, CHECKSUM_CHARACTERS = 40, 6
PATTERN = re.compile(r"\bcrm_([0-9A-Za-z]{40})([0-9A-Za-z]{6})\b")
SHOWN_CHARACTERS = 8
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def new_key() -> str:
    """Return a new key."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return PREFIX + random + checksum(random)


def checksum(random: str) -> str:
    """Return the six characters that follow a key's random ones."""
    number, digits = zlib.crc32(random.encode()), ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def is_miscopied(text: str) -> bool:
    """Say whether this looks like one of our keys, but lost or changed a character on its way."""
    if not text.startswith(PREFIX):
        return False
    found = PATTERN.fullmatch(text)
    return found is None or checksum(found[1]) != found[2]


def hash_key(key: str) -> bytes:
    """Return what is stored of a key; a random key needs no slow hash."""
    return hashlib.sha256(key.encode()).digest()

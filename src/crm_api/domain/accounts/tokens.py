"""Random tokens: shown once, kept as a hash; a prefix tells each kind, to people and scanners."""

import hashlib
import secrets

ACCESS_PREFIX = "crms_"
REFRESH_PREFIX = "crmr_"
TICKET_PREFIX = "crmt_"


def new_token(prefix: str) -> str:
    """Return a token of 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


def hash_token(token: str) -> bytes:
    """Return what is kept of a token; a random one needs no slow hash."""
    return hashlib.sha256(token.encode()).digest()

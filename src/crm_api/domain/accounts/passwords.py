"""Passwords: what is taken, and what is kept of them (Argon2id)."""

import asyncio
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from crm_api.domain.accounts.errors import WeakPasswordError

SHORTEST = 10
LONGEST = 256
"""Of hashing a longer one nothing is gained but work."""
_FEWEST_DIFFERENT = 4

_HASHER = PasswordHash((Argon2Hasher(),))


@cache
def _nobody() -> str:
    """Verified where there is no such user, so that an answer takes as long as for one there is."""
    return _HASHER.hash("the password of nobody")


def check(password: str, *, email: str, name: str) -> None:
    """Look whether a password is worth the name.

    Raises:
        WeakPasswordError: Too short or long, of hardly any characters, or the user's own name.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPasswordError(f"A password has {SHORTEST} to {LONGEST} characters.")
    if len(set(password)) < _FEWEST_DIFFERENT:
        raise WeakPasswordError("The password repeats the same few characters; choose another.")
    folded = password.casefold()
    if folded in {email.casefold(), email.partition("@")[0].casefold(), name.casefold()}:
        raise WeakPasswordError("The password is your own name or address; choose another.")


async def hash_password(password: str) -> str:
    """Return what is kept of a password; some 50 ms in a thread."""
    return await asyncio.to_thread(_HASHER.hash, password)


async def verify(password: str, known: str | None) -> bool:
    """Tell whether a password is the one of this hash; takes as long when there is none."""
    is_possible = known is not None and len(password) <= LONGEST
    is_right = await asyncio.to_thread(_verify, password[:LONGEST], known)
    return is_right and is_possible


def _verify(password: str, known: str | None) -> bool:
    return _HASHER.verify(password, known or _nobody())

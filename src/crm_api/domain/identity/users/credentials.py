"""Passwords: check their strength, hash and verify them (Argon2id). Random tokens: make and hash.

A token is shown once and stored as a hash; each kind has its own prefix.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from crm_api.domain.identity.users.errors import PasswordsBusyError, WeakPasswordError

SHORTEST = 10
LONGEST = 256
"""Characters. A longer password only costs more time to hash."""
_FEWEST_DIFFERENT = 4
WAIT_SECONDS = 5.0

P = ParamSpec("P")
T = TypeVar("T")

_HASHER = PasswordHash((Argon2Hasher(),))


@cache
def _dummy_hash() -> str:
    """Return a hash to verify for an unknown user, so that the answer takes the usual time."""
    return _HASHER.hash("the password of no user")


def check_password_strength(password: str, *, email: str, name: str) -> None:
    """Refuse a password that is easy to guess.

    Raises:
        WeakPasswordError: It is too short or too long, has too few different characters, or is the
            user's own name or address.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPasswordError(f"A password has {SHORTEST} to {LONGEST} characters.")
    if len(set(password)) < _FEWEST_DIFFERENT:
        raise WeakPasswordError("The password repeats the same few characters; choose another.")
    folded = password.casefold()
    if folded in {email.casefold(), email.partition("@")[0].casefold(), name.casefold()}:
        raise WeakPasswordError("The password is your own name or address; choose another.")


class PasswordHasher:
    """Hashes and verifies passwords in threads, as many at once as the machine has cores.

    A hash takes about 100 ms of one core and 64 MiB. Without this limit, a hundred simultaneous
    requests would block all other work.
    """

    def __init__(self, *, at_once: int | None = None, wait_seconds: float = WAIT_SECONDS) -> None:
        """Prepare to hash.

        Args:
            at_once: Most hashes at the same time; None: the number of cores.
            wait_seconds: How long a password may wait for a free thread.
        """
        self._threads = asyncio.Semaphore(at_once or os.cpu_count() or 1)
        self._wait_seconds = wait_seconds

    async def hash_password(self, password: str) -> str:
        """Return the hash of a password.

        Raises:
            PasswordsBusyError: No thread was free in time.
        """
        return await self._in_thread(_HASHER.hash, password)

    async def verify(self, password: str, known: str | None) -> bool:
        """Return whether a password has this hash; without a hash it takes the same time.

        Raises:
            PasswordsBusyError: No thread was free in time.
        """
        is_possible = known is not None and len(password) <= LONGEST
        is_right = await self._in_thread(_verify, password[:LONGEST], known)
        return is_right and is_possible

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._threads.acquire()
        except TimeoutError:
            raise PasswordsBusyError from None
        # The thread finishes its hash even if the caller disconnects, and counts until then.
        hashing = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        hashing.add_done_callback(lambda _: self._threads.release())
        return await asyncio.shield(hashing)


def _verify(password: str, known: str | None) -> bool:
    return _HASHER.verify(password, known or _dummy_hash())


ACCESS_PREFIX = "crms_"
REFRESH_PREFIX = "crmr_"
TICKET_PREFIX = "crmt_"


def new_token(prefix: str) -> str:
    """Return a token of 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


def hash_token(token: str) -> bytes:
    """Return the stored hash of a token; a random token needs no slow hash."""
    return hashlib.sha256(token.encode()).digest()

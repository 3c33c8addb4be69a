"""Check, hash and verify passwords (Argon2id), and make and hash random tokens.

A token is shown once and stored as a hash. Each kind of token has its own prefix.
"""

import asyncio
import os
import secrets
from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from crm_api.domain.identity.users.errors import PasswordsBusyError, WeakPasswordError

SHORTEST = 10
"""The smallest number of characters of a password."""
LONGEST = 256
"""The largest number of characters of a password. A longer password would only take more time to
hash.
"""
_FEWEST_DIFFERENT = 4
WAIT_SECONDS = 5.0

P = ParamSpec("P")
T = TypeVar("T")

_HASHER = PasswordHash((Argon2Hasher(),))


@cache
def _dummy_hash() -> str:
    """Return the hash against which a password is verified if the user does not exist.

    Because of this hash, the response takes as long as for a user who exists. So the time does not
    reveal whether a user exists.
    """
    return _HASHER.hash("the password of no user")


def check_password_strength(password: str, *, email: str, name: str) -> None:
    """Check that a new password is not easy to guess.

    Raises:
        WeakPasswordError: The password is too short or too long, has too few different characters,
            or is the user's own name or e-mail address.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPasswordError(f"The password must have {SHORTEST} to {LONGEST} characters.")
    if len(set(password)) < _FEWEST_DIFFERENT:
        raise WeakPasswordError(
            f"The password must have at least {_FEWEST_DIFFERENT} different characters."
        )
    folded = password.casefold()
    if folded in {email.casefold(), email.partition("@")[0].casefold(), name.casefold()}:
        raise WeakPasswordError("The password must not be your own name or e-mail address.")


class PasswordHasher:
    """Hashes and verifies passwords in threads, and limits how many threads run at the same time.

    A hash takes about 100 ms of one core and 64 MiB of memory. Without the limit, a hundred
    simultaneous requests would block all other work.
    """

    def __init__(self, *, at_once: int | None = None, wait_seconds: float = WAIT_SECONDS) -> None:
        """Set the limits for the hashing of passwords.

        Args:
            at_once: The largest number of threads that compute hashes at the same time; None for
                the number of cores.
            wait_seconds: The longest time that a request waits for its turn, in seconds.
        """
        self._threads = asyncio.Semaphore(at_once or os.cpu_count() or 1)
        self._wait_seconds = wait_seconds

    async def hash_password(self, password: str) -> str:
        """Return the Argon2id hash of a password.

        Raises:
            PasswordsBusyError: The service was busy with other passwords for more than
                ``wait_seconds``.
        """
        return await self._in_thread(_HASHER.hash, password)

    async def verify(self, password: str, known: str | None) -> bool:
        """Return whether a password belongs to a stored hash.

        Args:
            password: The password that the caller sent.
            known: The stored hash; None if the user does not exist. If it is None, the result is
                False, and the check takes as long as for a wrong password.

        Raises:
            PasswordsBusyError: The service was busy with other passwords for more than
                ``wait_seconds``.
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
        # If the client disconnects, the thread still finishes its work. The thread is released for
        # other passwords only after that.
        hashing = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        hashing.add_done_callback(lambda _: self._threads.release())
        return await asyncio.shield(hashing)


def _verify(password: str, known: str | None) -> bool:
    return _HASHER.verify(password, known or _dummy_hash())


ACCESS_PREFIX = "crms_"
REFRESH_PREFIX = "crmr_"
TICKET_PREFIX = "crmt_"


def new_token(prefix: str) -> str:
    """Return a new token: the prefix and 256 random bits in base 64."""
    return prefix + secrets.token_urlsafe(32)

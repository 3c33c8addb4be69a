"""The keys with which the receiver proves events: those of the settings, and the saved ones.

A webhook that is registered or whose key is rotated while the process runs signs with a key that
the process has not read yet. The first signature that does not match makes it look, but not
again for some seconds, so that forged ones cannot make it ask the database for each of them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import structlog

from crm_api.domain.openphone.errors import MismatchedSignatureError
from crm_api.domain.openphone.signature import Verified, Verifier
from crm_api.domain.webhook_setup.keys import SavedKey

log = structlog.get_logger()

GAP_SECONDS = 3.0
"""Between two looks after signatures that did not match; the provider's first retry comes after
five, so what a new key signed is refused once at most."""
FRESH_SECONDS = 300.0
"""After this the keys are read again in any case: one may have been retired."""
LOAD_SECONDS = 2.0
"""A look that takes longer is given up; the provider waits ten seconds for its answer."""

Load = Callable[[], Awaitable[Sequence[SavedKey]]]


class KeyRing:
    """All keys that are accepted now, in one process.

    Attributes:
        loads: How often the saved keys were asked for.
    """

    def __init__(
        self,
        given: Sequence[str],
        *,
        load: Load,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the keys of the settings; the saved ones are read when they are needed.

        Raises:
            ValueError: A given key is not base64 or shorter than 8 bytes.
        """
        self._given = tuple(given)
        self._load = load
        self._monotonic = monotonic
        self._saved: tuple[SavedKey, ...] = ()
        self._verifier = Verifier(self._given) if self._given else None
        self._generation = 0
        self._ends_at: datetime | None = None
        self._loaded_at: float | None = None
        self._lock = asyncio.Lock()
        self.loads = 0

    async def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Verified:
        """Check one webhook, with the saved keys read again where that may help.

        Raises:
            SignatureError: It is not proved to be the provider's.
        """
        if self._ends_at is not None and now >= self._ends_at:
            self._take(self._saved, now=now)
        if self._age() >= FRESH_SECONDS:
            await self._look(self._generation, gap=FRESH_SECONDS, now=now)
        generation = self._generation
        try:
            return self._verify(headers, body, now=now)
        except MismatchedSignatureError:
            if not await self._look(generation, gap=GAP_SECONDS, now=now):
                raise
        return self._verify(headers, body, now=now)

    def _verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Verified:
        if self._verifier is None:
            raise MismatchedSignatureError("No signing key is known yet.")
        return self._verifier.verify(headers, body, now=now)

    def _age(self) -> float:
        if self._loaded_at is None:
            return float("inf")
        return self._monotonic() - self._loaded_at

    async def _look(self, generation: int, *, gap: float, now: datetime) -> bool:
        """Read the saved keys, once for all who wait; True when there may be others now."""
        async with self._lock:
            if self._generation != generation:
                return True
            if self._age() < gap:
                return False
            self._loaded_at = self._monotonic()
            self.loads += 1
            try:
                async with asyncio.timeout(LOAD_SECONDS):
                    found = await self._load()
            except Exception as error:  # noqa: BLE001 - those in memory go on; the next look is near
                log.warning("webhook keys not read", error=type(error).__name__)
                return False
            return self._take(found, now=now)

    def _take(self, found: Sequence[SavedKey], *, now: datetime) -> bool:
        saved = tuple(key for key in found if key.retire_at is None or key.retire_at > now)
        ends = [key.retire_at for key in saved if key.retire_at is not None]
        self._ends_at = min(ends, default=None)
        if saved == self._saved:
            return False
        self._saved = saved
        keys = (*self._given, *(key.key for key in saved))
        self._verifier = Verifier(keys) if keys else None
        self._generation += 1
        return True

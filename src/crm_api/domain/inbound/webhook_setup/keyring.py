"""Verify webhooks with the signing keys in the settings and the keys saved in the database.

When a signature does not match, the process reads the saved keys again, because the provider may
sign with a new key. It does so at most once in ``GAP_SECONDS``, so that not every forged signature
causes a database read.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import structlog

from crm_api.domain.inbound.webhook_setup import keys
from crm_api.domain.inbound.webhook_setup.keys import SavedKey
from crm_api.domain.provider.openphone.errors import MismatchedSignatureError
from crm_api.domain.provider.openphone.signature import Verified, Verifier
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, open_engine, session_factory
from crm_api.platform.jobs import Job
from crm_api.platform.settings import Settings

log = structlog.get_logger()

GAP_SECONDS = 3.0
"""After a signature that does not match, the keys are read only if the last read was at least this
many seconds ago. The provider's first retry comes after 5 s, so an event that is signed with a new
key is refused at most once."""
FRESH_SECONDS = 300.0
"""Maximum age of the keys in memory. Older keys are read again, because a key may be retired."""
LOAD_SECONDS = 2.0
"""Time limit of one read of the keys. The provider waits only 10 s for a response to a webhook."""

Load = Callable[[], Awaitable[Sequence[SavedKey]]]


class KeyRing:
    """Holds the keys that this process accepts now, and verifies webhooks with them.

    Attributes:
        loads: The number of times that the saved keys were read.
    """

    def __init__(
        self,
        given: Sequence[str],
        *,
        load: Load,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a key ring with the keys of the settings; saved keys are read when needed.

        Args:
            given: The keys of the settings.
            load: Reads the saved keys.
            monotonic: Returns the time of a monotonic clock, in seconds.

        Raises:
            ValueError: A given key is not base64, or is shorter than 8 bytes.
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
        """Verify one webhook; if no key matches, read the saved keys and verify again.

        Raises:
            SignatureError: The signature does not prove that the provider sent the webhook.
        """
        if self._has_retired(now):
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

    def verify_at_once(
        self, headers: Mapping[str, str], body: bytes, *, now: datetime
    ) -> Verified | None:
        """Verify one webhook with the keys in memory, without a database read.

        If this method returns None or raises an error, call ``verify``, which also reads the
        database.

        Returns:
            The verified signature. None if the keys in memory may be out of date; the signature was
            then not checked.

        Raises:
            SignatureError: The signature is not valid, or no key in memory matches it.
        """
        if self._has_retired(now) or self._age() >= FRESH_SECONDS:
            return None
        return self._verify(headers, body, now=now)

    def _has_retired(self, now: datetime) -> bool:
        return self._ends_at is not None and now >= self._ends_at

    def _verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Verified:
        if self._verifier is None:
            raise MismatchedSignatureError(
                "This service has no signing key yet. Create one with `crm-api webhooks register`."
            )
        return self._verifier.verify(headers, body, now=now)

    def _age(self) -> float:
        if self._loaded_at is None:
            return float("inf")
        return self._monotonic() - self._loaded_at

    async def _look(self, generation: int, *, gap: float, now: datetime) -> bool:
        """Read the saved keys. If several callers wait, only one of them reads.

        Args:
            generation: The version number (generation) of the keys that the caller has used.

        Returns:
            True if the keys in memory are no longer of this generation. False if the saved keys
            have not changed, were read less than ``gap`` seconds ago, or cannot be read.
        """
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
            except Exception as error:  # noqa: BLE001 - keep the keys in memory and try again soon
                log.warning("saved webhook keys could not be read", error=type(error).__name__)
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


class _NoQueue:
    """A job queue that discards every job, for units of work that request no jobs."""

    async def push(self, job: Job) -> None:
        """Discard the job.

        ``UnitOfWork`` requires a job queue. ``_NoQueue`` is only for units of work that request no
        jobs, so no job is lost.
        """

    async def ping(self) -> bool:
        """Return False, because ``_NoQueue`` is not connected to a server."""
        return False


NO_QUEUE = _NoQueue()


def open_key_ring(settings: Settings, *, new_uow: UnitOfWorkFactory) -> KeyRing:
    """Create a key ring with the keys in the settings; saved keys are read when needed.

    Raises:
        SettingsError: The settings have no secret key.
    """
    secret = settings.require_secret_key()

    async def load() -> list[SavedKey]:
        async with new_uow() as uow:
            return await keys.accepted_keys(uow, secret=secret, now=clock.now())

    return KeyRing(settings.webhook_secrets(), load=load)


async def require_signing_key(settings: Settings) -> None:
    """Check that a signing key exists; read the database only if the settings have none.

    Raises:
        SettingsError: Neither the settings nor the database has a signing key.
    """
    if settings.webhook_secrets():
        return
    async with open_engine(settings.require_database_url(), pool_size=1) as engine:
        uow = UnitOfWork(session_factory(engine), NO_QUEUE)
        async with uow:
            saved = await keys.accepted_keys(
                uow, secret=settings.require_secret_key(), now=clock.now()
            )
    if not saved:
        settings.refuse_without_signing_key()

"""Create the receiver's key ring, and check at start that a signing key exists."""

from crm_api.domain.inbound.webhook_setup import keys
from crm_api.domain.inbound.webhook_setup.keyring import KeyRing
from crm_api.domain.inbound.webhook_setup.keys import SavedKey
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory, open_engine, session_factory
from crm_api.platform.jobs import Job
from crm_api.platform.settings import Settings


class _NoQueue:
    """A job queue that discards every job, for units of work that request no jobs."""

    async def push(self, job: Job) -> None:
        """Discard the job."""

    async def ping(self) -> bool:
        """Return False, because there is no queue."""
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

"""Which keys prove webhooks: the receiver's ring of them, and no start without any."""

from crm_api import clock
from crm_api.db import UnitOfWork, UnitOfWorkFactory, open_engine, session_factory
from crm_api.domain.webhook_setup import keys
from crm_api.domain.webhook_setup.keyring import KeyRing
from crm_api.domain.webhook_setup.keys import SavedKey
from crm_api.jobs import Job
from crm_api.settings import Settings


class _NoQueue:
    """For units of work that nudge nobody."""

    async def push(self, job: Job) -> None:
        """Do nothing."""

    async def ping(self) -> bool:
        """Answer for nobody."""
        return False


NO_QUEUE = _NoQueue()


def open_key_ring(settings: Settings, *, new_uow: UnitOfWorkFactory) -> KeyRing:
    """Make the ring of the settings' keys and the saved ones, which it reads when it needs them.

    Raises:
        SettingsError: There is no secret key.
    """
    secret = settings.require_secret_key()

    async def load() -> list[SavedKey]:
        async with new_uow() as uow:
            return await keys.accepted_keys(uow, secret=secret, now=clock.now())

    return KeyRing(settings.webhook_secrets(), load=load)


async def require_signing_key(settings: Settings) -> None:
    """Make sure that webhooks can be proved; the database is asked only if the settings have none.

    Raises:
        SettingsError: Neither the settings nor the database has a key.
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

"""Read the service's secret at the start of a process: its root is in the database."""

import asyncio

from sqlalchemy.exc import ProgrammingError

from crm_api.domain.inbound.webhook_setup.signing import NO_QUEUE
from crm_api.domain.monitoring.key_rotation import service as resealing
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.encryption import UnsealError
from crm_api.platform.postgres import DATABASE_UNREACHABLE, unreachable_sentence
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings, SettingsError

PATIENCE_SECONDS = 30.0
"""A restarting database answers within this time; after it, the supervisor starts us again."""
_POLL_SECONDS = 0.5
_FEWEST_TRIES = 4
"""Also after the deadline: a process that was suspended wakes up long after it."""


async def with_secret(
    settings: Settings, *, patience: float = PATIENCE_SECONDS, adopts: bool = True
) -> Settings:
    """Return settings that contain the secret; wait for a database that is unavailable.

    Args:
        settings: Database and secret keys.
        patience: Maximum wait, in seconds.
        adopts: Make the secret key the root at the first start; False for read-only commands.

    Raises:
        StartError: The database cannot be reached.
        SettingsError: There is no secret key, no given key decrypts what is stored, or the schema
            is older than this code.
    """
    deadline = asyncio.get_running_loop().time() + patience
    fewest = _FEWEST_TRIES if patience else 1
    tried = 0
    while True:
        tried += 1
        try:
            return await _open(settings, adopts=adopts)
        except ProgrammingError as error:
            raise SettingsError(
                "the database's schema is older than this code: run `crm-api migrate`"
            ) from error
        except DATABASE_UNREACHABLE as error:
            if tried >= fewest and asyncio.get_running_loop().time() > deadline:
                raise StartError(unreachable_sentence(error)) from error
        await asyncio.sleep(_POLL_SECONDS)


async def _open(settings: Settings, *, adopts: bool) -> Settings:
    keys = settings.secret_keys()
    async with open_engine(settings.require_database_url(), pool_size=1) as engine:
        uow = UnitOfWork(session_factory(engine), NO_QUEUE)
        async with uow:
            try:
                secret = await resealing.open_root_secret(
                    uow.session, keys=keys, now=clock.now(), adopts=adopts
                )
            except UnsealError as error:
                raise SettingsError(
                    "CRM_SECRET_KEY is not the one that this database was used with: start once "
                    "with that key alone; then docs/explanation/security.md says how to replace it"
                ) from error
    return settings.knowing(secret)

"""Read the root secret from the database when a process starts."""

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
"""How long a process waits for a database that restarts. After it, the process ends, and the
supervisor starts it again."""
_POLL_SECONDS = 0.5
_FEWEST_TRIES = 4
"""Also after the deadline: a process that was suspended wakes up long after it."""


async def with_secret(
    settings: Settings, *, patience: float = PATIENCE_SECONDS, adopts: bool = True
) -> Settings:
    """Return the settings with the secret of the service; wait for an unavailable database.

    Args:
        settings: Name the database and the secret keys.
        patience: The longest wait for the database, in seconds.
        adopts: If the database has no root secret, store the secret key as its root secret. False
            for commands that only read.

    Raises:
        StartError: The database cannot be reached.
        SettingsError: There is no secret key, no secret key decrypts the root secret, or the schema
            of the database is older than this release.
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
                "the database's schema is older than this release: run `crm-api migrate`"
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
                    "CRM_SECRET_KEY is not the secret key of this database: start once with only "
                    "the old key; docs/explanation/security.md says how to replace it afterwards"
                ) from error
    return settings.knowing(secret)

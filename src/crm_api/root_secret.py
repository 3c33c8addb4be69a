"""Opens the secret of the service at the start of a process: its root is in the database."""

import asyncio

import asyncpg
from sqlalchemy.exc import DBAPIError, ProgrammingError

from crm_api import clock
from crm_api.db import UnitOfWork, open_engine, session_factory
from crm_api.domain.resealing import service as resealing
from crm_api.domain.sealing import UnsealError
from crm_api.settings import Settings, SettingsError
from crm_api.signing import NO_QUEUE

PATIENCE_SECONDS = 30.0
"""A database that is restarted answers again within this; then whoever started us tries again."""
_POLL_SECONDS = 0.5


async def with_secret(
    settings: Settings, *, patience: float = PATIENCE_SECONDS, adopts: bool = True
) -> Settings:
    """Return settings that know the secret, waiting a while for a database that is away.

    Args:
        settings: Which database, and the secret keys.
        patience: For so many seconds.
        adopts: At the first start the secret key becomes the root; what only looks leaves that.

    Raises:
        SettingsError: There is no secret key, none that is given opens what is stored, or the
            schema is older than this code.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await _open(settings, adopts=adopts)
        except ProgrammingError as error:
            raise SettingsError(
                "the database's schema is older than this code: run `crm-api migrate`"
            ) from error
        except (OSError, TimeoutError, DBAPIError, asyncpg.PostgresError):
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(_POLL_SECONDS)


async def _open(settings: Settings, *, adopts: bool) -> Settings:
    keys = settings.secret_keys()
    async with open_engine(settings.require_database_url(), pool_size=1) as engine:
        uow = UnitOfWork(session_factory(engine), NO_QUEUE)
        async with uow:
            try:
                secret = await resealing.open_root(
                    uow.session, keys=keys, now=clock.now(), adopts=adopts
                )
            except UnsealError as error:
                raise SettingsError(
                    "CRM_SECRET_KEY is not the one that this database was used with: start once "
                    "with that one alone; then docs/security.md says how to replace it"
                ) from error
    return settings.knowing(secret)

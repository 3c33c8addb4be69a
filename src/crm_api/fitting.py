"""No start on a schema that this code does not know, nor on one that lacks what it needs."""

import structlog
from sqlalchemy.exc import SQLAlchemyError

from crm_api import migrate
from crm_api.db import open_engine
from crm_api.processes import StartError
from crm_api.settings import Settings

log = structlog.get_logger()


async def require_fitting_schema(settings: Settings) -> None:
    """Make sure that the database has the schema of this release, or one that serves it.

    A database that is away is waited for by whoever is started; `/readyz` looks again.

    Raises:
        StartError: It has not.
    """
    try:
        async with (
            open_engine(settings.require_database_url(), pool_size=1) as engine,
            engine.connect() as connection,
        ):
            standing = await migrate.read_standing(connection)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        log.warning("the schema was not looked at", error=type(error).__name__)
        return
    if trouble := standing.trouble():
        raise StartError(trouble)
    if standing.is_later:
        log.warning("the schema is a later release's, and serves this one", at=standing.revision)

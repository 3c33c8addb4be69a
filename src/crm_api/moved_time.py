"""No start with a real API key on a database whose time was moved for play."""

import structlog
from sqlalchemy.exc import SQLAlchemyError

from crm_api.db import UnitOfWork, open_engine, session_factory
from crm_api.domain.playground import service as playground
from crm_api.domain.playground.durations import write_duration
from crm_api.settings import Settings, SettingsError
from crm_api.signing import NO_QUEUE

log = structlog.get_logger()


async def refuse_moved_time(settings: Settings) -> None:
    """Make sure that no row lies in a future which was only played.

    What was sent, asked or opted out there would count against what is really sent. The database
    is asked only with a real API key; one that is away, or empty, was never played with.

    Raises:
        SettingsError: There is a real API key, and time was moved.
    """
    if settings.uses_sandbox:
        return
    try:
        async with (
            open_engine(settings.require_database_url(), pool_size=1) as engine,
            UnitOfWork(session_factory(engine), NO_QUEUE) as uow,
        ):
            found = await playground.get(uow)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        log.warning("not looked whether time was moved", error=type(error).__name__)
        return
    if found is not None and found.ahead:
        raise SettingsError(
            "CRM_OPENPHONE_API_KEY is set, but time was moved in this database, by "
            f"{write_duration(found.ahead)}: it is the sandbox's. Give another database, or "
            "another CRM_DATA_DIR"
        )

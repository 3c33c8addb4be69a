"""Run the migrations on the connection of the caller, or on the database in the settings."""

import asyncio
import os
import re

from alembic import context
from sqlalchemy import Connection, MetaData

from crm_api.platform.database import open_engine
from crm_api.platform.postgres import require_direct
from crm_api.platform.settings import Settings


def _is_whole(_: object, name: str | None, kind: str, *__: object) -> bool:
    """Return False for the monthly partitions of a table, so that `autogenerate` ignores them."""
    return kind != "table" or re.search(r"_(\d{4}_\d\d|default)$", name or "") is None


def run(connection: Connection, *, metadata: MetaData | None) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=True,
        include_object=_is_whole,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_from_environment() -> None:
    # Only Alembic's own commands, such as `autogenerate`, compare the tables with the models.
    # `crm-api migrate` does not load the models, because loading them takes a second.
    from crm_api.domain.all_tables import metadata  # noqa: PLC0415

    settings = Settings.load(os.environ)
    url = await require_direct(settings)
    async with open_engine(url) as engine, engine.connect() as connection:
        await connection.run_sync(lambda sync: run(sync, metadata=metadata))
        await connection.commit()


given = context.config.attributes.get("connection")
if given is not None:
    run(given, metadata=None)
else:
    asyncio.run(run_from_environment())

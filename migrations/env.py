"""Runs the revisions on the connection that the caller hands in, or on the settings' database."""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from crm_api.db import open_engine
from crm_api.domain.tables import metadata
from crm_api.postgres import require_direct
from crm_api.settings import Settings


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_from_environment() -> None:
    settings = Settings.load(os.environ)
    url = await require_direct(settings)
    async with open_engine(url) as engine, engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_from_environment())

"""Fixtures for a separate database, whose connections log in with the role of the service.

They replace the usual fixtures of the same names.
"""

from collections.abc import AsyncIterator

import pytest_asyncio
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.conftest import empty_tables
from tests.migrations.support import own_database

from crm_api.dev.embedded_servers import ServerUrls
from crm_api.platform.database import create_engine
from crm_api.platform.migration_runner import make_roles, upgrade

DATABASE = "crm_limited"


def as_login(url: str, name: str) -> str:
    return make_url(url).set(username=name).render_as_string(hide_password=False)


@pytest_asyncio.fixture(scope="session")
async def owner(urls: ServerUrls) -> AsyncIterator[AsyncEngine]:
    """Yield an engine that logs in as the owner of a migrated database.

    The roles of the service and of the reports exist too, each with a login.
    """
    server = create_engine(str(urls.database_url), pool_size=1)
    async with own_database(server, DATABASE) as url:
        await upgrade(url)
        made = await make_roles(url, login="limited_service")
        engine = create_engine(url, pool_size=2)
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"CREATE ROLE limited_reports IN ROLE {made.reports}")
            await connection.exec_driver_sql("ALTER ROLE limited_reports LOGIN")
        yield engine
        await engine.dispose()
    await server.dispose()


@pytest_asyncio.fixture(scope="session")
async def database_url(owner: AsyncEngine) -> str:
    return as_login(owner.url.render_as_string(hide_password=False), "limited_service")


@pytest_asyncio.fixture(scope="session")
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url, pool_size=10)
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture
async def committed_db(engine: AsyncEngine, owner: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    yield engine
    await empty_tables(owner)


@pytest_asyncio.fixture
async def reports(owner: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    url = as_login(owner.url.render_as_string(hide_password=False), "limited_reports")
    engine = create_engine(url, pool_size=1)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()

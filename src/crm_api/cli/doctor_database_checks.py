"""The checks of `crm-api doctor` that read the database: schema, consent, secrets and workers."""

import asyncio
from typing import Any, cast

from arq.connections import create_pool
from arq.constants import health_check_key_suffix
from sqlalchemy import text

from crm_api.cli.doctor_checks import Check, State
from crm_api.domain.consent import linking
from crm_api.domain.consent.linking import ChainVerification
from crm_api.domain.inbound.webhook_setup.keyring import NO_QUEUE
from crm_api.domain.monitoring import key_rotation
from crm_api.domain.monitoring.key_rotation import SealedRows, with_secret
from crm_api.domain.monitoring.scheduled_jobs import heartbeats
from crm_api.domain.monitoring.scheduled_jobs.schemas import WorkerState
from crm_api.platform import clock, database_roles, schema_revisions
from crm_api.platform.database import open_engine, open_uow, session_factory
from crm_api.platform.encryption import Secret
from crm_api.platform.postgres import connect, is_pooled, renames_statements, require_direct
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings
from crm_api.workers import schedule
from crm_api.workers.deps import Deps
from crm_api.workers.queue import QUEUE_NAME, redis_settings
from crm_api.workers.worker import build_worker

OLDEST_POSTGRES = 160_000
"""The oldest supported version of PostgreSQL: 16. The format is that of PostgreSQL's setting
``server_version_num``."""


async def check_database(settings: Settings) -> list[Check]:
    """Check the version of PostgreSQL, the schema revision, and the service's database role.

    Raises:
        SettingsError: CRM_DATABASE_URL is not set.
    """
    async with (
        open_engine(settings.require_database_url(), pool_size=1) as engine,
        engine.connect() as connection,
    ):
        version = str(await connection.scalar(text("SHOW server_version")))
        number = int(str(await connection.scalar(text("SHOW server_version_num"))))
        is_limited = await database_roles.is_limited(connection)
        schema_state = await schema_revisions.read_schema_state(connection)
    is_old = number < OLDEST_POSTGRES
    database = Check(
        "database",
        State.BROKEN if is_old else State.OK,
        f"PostgreSQL {version}" + ("; version 16 or newer is needed" if is_old else ""),
    )
    if trouble := schema_state.trouble():
        return [database, Check("migrations", State.BROKEN, trouble)]
    schema = Check("migrations", State.OK, f"the schema has revision {schema_state.revision}")
    return [database, schema, _judge_role(is_limited=is_limited)]


def _judge_role(*, is_limited: bool) -> Check:
    if is_limited:
        return Check("roles", State.OK, "the role of the service cannot change the audit log")
    advice = (
        "the service uses the login of the tables' owner, which can change the audit log; "
        "`crm-api database roles` creates a limited role"
    )
    return Check("roles", State.WARNING, advice)


async def check_pooler(settings: Settings) -> list[Check]:
    """Check the pooler (such as PgBouncer): it must support prepared statements.

    If the pooler supports prepared statements, the function also opens a direct connection to the
    database, without the pooler. If there is no pooler, the result is empty.

    Raises:
        SettingsError: CRM_DATABASE_URL is not set. The error is also raised if a direct connection
            is needed, but CRM_DATABASE_DIRECT_URL is not set.
    """
    connection = await connect(settings.require_database_url(), application="crm-api doctor")
    try:
        if not await is_pooled(connection):
            return []
        is_followed = await renames_statements(connection)
    finally:
        connection.terminate()
    if not is_followed:
        advice = (
            "the pooler does not support prepared statements; use PgBouncer 1.21 or newer with "
            "max_prepared_statements = 200"
        )
        return [Check("pooler", State.BROKEN, advice)]
    direct = await connect(await require_direct(settings), application="crm-api doctor")
    direct.terminate()
    advice = "the pooler supports prepared statements, and a direct connection works"
    return [Check("pooler", State.OK, advice)]


async def check_consent(settings: Settings) -> list[Check]:
    """Verify the hash chain of the consent history, from its first link to its last.

    Raises:
        SettingsError: CRM_DATABASE_URL is not set, or there is no secret key.
    """
    secret = (await with_secret(settings, patience=0, adopts=False)).require_secret_key()
    found = ChainVerification()
    async with (
        open_engine(settings.require_database_url(), pool_size=1) as engine,
        session_factory(engine)() as session,
    ):
        while await linking.verify_links(session, found, secret=secret):
            # End the transaction after each page, so that no transaction is open for a long time.
            await session.rollback()
        await linking.verify_tail(session, found, now=clock.now())
    return judge_chain(found)


def judge_chain(found: ChainVerification) -> list[Check]:
    """Return the text lines about the consent history for the report of `crm-api doctor`.

    Args:
        found: The result of verifying the hash chain of the consent history.
    """
    checks = [Check("consent", State.BROKEN, finding) for finding in found.findings]
    if found.faults > len(found.findings):
        advice = f"there are {found.faults - len(found.findings)} more faults of the history"
        checks.append(Check("consent", State.BROKEN, advice))
    if found.other_keys:
        advice = (
            f"{found.other_keys} of {found.position} links cannot be verified, because they were "
            "made with another CRM_SECRET_KEY; run `crm-api doctor` again with that key"
        )
        checks.append(Check("consent", State.WARNING, advice))
    if not checks:
        end = f"; the last is {found.head.hex()[:16]}…" if found.position else ""
        advice = f"all {found.position} links of the consent history are correct{end}"
        checks.append(Check("consent", State.OK, advice))
    return checks


async def check_secrets(settings: Settings) -> list[Check]:
    """Check that all stored secrets are encrypted with the current key.

    Raises:
        SettingsError: CRM_DATABASE_URL is not set, or no known key belongs to this database.
    """
    known = await with_secret(settings, patience=0, adopts=False)
    secret = Secret(known.require_secret_key(), seals=known.secret_keys())
    async with (
        open_engine(settings.require_database_url(), pool_size=1) as engine,
        session_factory(engine)() as session,
    ):
        return judge_secrets(await key_rotation.count_sealed_rows(session, secret=secret))


def judge_secrets(found: list[SealedRows]) -> list[Check]:
    """Return the text lines about stored secrets for the report of `crm-api doctor`.

    Args:
        found: For each table, how many secrets the current key decrypts, how many another known key
            decrypts, and how many no known key decrypts.
    """
    checks = [
        Check(
            "secrets",
            State.BROKEN,
            f"{one.unreadable} rows of {one.table} cannot be decrypted with any given key; add the "
            "key that encrypted them to CRM_OTHER_SECRET_KEYS",
        )
        for one in found
        if one.unreadable
    ]
    others = sum(one.others for one in found)
    if others:
        advice = f"{others} rows are encrypted with another key; run `crm-api database reseal`"
        checks.append(Check("secrets", State.WARNING, advice))
    total = sum(one.current for one in found)
    advice = f"all {total} stored secrets are encrypted with the current key"
    return checks or [Check("secrets", State.OK, advice)]


LOOKS = 3
"""How many times this command looks for the health key of a worker in Redis, once per second.

Several looks are needed, because a busy worker may write the key late.
"""


async def check_workers(settings: Settings) -> list[Check]:
    """Check that a worker is running, and that this release has a function for every scheduled job.

    Raises:
        SettingsError: CRM_DATABASE_URL or CRM_REDIS_URL is not set.
    """
    try:
        # The worker is only built to list its jobs; it does not run. So it needs no dependencies.
        schedule.require_schedule(build_worker(settings, cast("Deps", None)), settings)
    except StartError as error:
        return [Check("worker", State.BROKEN, str(error))]
    async with open_uow(settings.require_database_url(), NO_QUEUE) as uow:
        workers = await heartbeats.list_workers(uow, now=clock.now())
    alive = sum(one.state is WorkerState.ALIVE for one in workers)
    return [judge_workers(alive, is_consumed=await _is_consumed(settings.require_redis_url()))]


async def _is_consumed(redis_url: str) -> bool:
    """Return whether a worker reads the queue in Redis.

    Such a worker renews its health key in Redis every 10 s. This function looks for the key.
    """
    pool: Any = await create_pool(redis_settings(redis_url))
    try:
        for _ in range(LOOKS):
            if await pool.get(QUEUE_NAME + health_check_key_suffix) is not None:
                return True
            await asyncio.sleep(1)
    finally:
        await pool.aclose(close_connection_pool=True)
    return False


def judge_workers(alive: int, *, is_consumed: bool) -> Check:
    """Return the text line about the workers for the report of `crm-api doctor`.

    Args:
        alive: The number of workers that have recently stored a heartbeat in the database.
        is_consumed: Whether a worker reads the queue in Redis.
    """
    if alive and is_consumed:
        return Check("worker", State.OK, f"{alive} worker(s) running")
    if alive:
        advice = (
            f"{alive} worker(s) running, but none reads the queue in this Redis; set the same "
            "CRM_REDIS_URL for the API and the workers"
        )
        return Check("worker", State.BROKEN, advice)
    if is_consumed:
        advice = (
            "a worker reads the queue in this Redis, but none uses this database; set the same "
            "CRM_DATABASE_URL for the API and the workers"
        )
        return Check("worker", State.BROKEN, advice)
    advice = (
        "no worker is running, so no message is sent and no event is processed; start "
        "`crm-api worker`"
    )
    return Check("worker", State.WARNING, advice)

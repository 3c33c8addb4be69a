"""`crm-api doctor`: check the database: version, schema, pooler, consent history, secrets."""

from sqlalchemy import text

from crm_api.cli.findings import Check, State
from crm_api.domain.consent import linking
from crm_api.domain.consent.linking import ChainVerification
from crm_api.domain.monitoring.key_rotation import resealing
from crm_api.domain.monitoring.key_rotation.resealing import SealedRows
from crm_api.domain.monitoring.key_rotation.root_secret import with_secret
from crm_api.platform import clock, database_roles, schema_revisions
from crm_api.platform.database import open_engine, session_factory
from crm_api.platform.encryption import Secret
from crm_api.platform.postgres import connect, is_pooled, renames_statements, require_direct
from crm_api.platform.settings import Settings

OLDEST_POSTGRES = 160_000
"""The oldest supported version of PostgreSQL: 16, in the form of ``server_version_num``."""


async def check_database(settings: Settings) -> list[Check]:
    """Check the version of PostgreSQL, the revision of the schema, and the role of the service.

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
    """If there is a pooler, check that it supports prepared statements and can be bypassed.

    Without a pooler, the result is empty.

    Raises:
        SettingsError: CRM_DATABASE_URL is not set, or there is a pooler and
            CRM_DATABASE_DIRECT_URL is not set.
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
            await session.rollback()  # one short transaction per page
        await linking.verify_tail(session, found, now=clock.now())
    return judge_chain(found)


def judge_chain(found: ChainVerification) -> list[Check]:
    """Return the report's lines about the consent history, from the result of its verification."""
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
        SettingsError: CRM_DATABASE_URL is not set, or no known key decrypts the root secret.
    """
    known = await with_secret(settings, patience=0, adopts=False)
    secret = Secret(known.require_secret_key(), seals=known.secret_keys())
    async with (
        open_engine(settings.require_database_url(), pool_size=1) as engine,
        session_factory(engine)() as session,
    ):
        return judge_secrets(await resealing.count_sealed_rows(session, secret=secret))


def judge_secrets(found: list[SealedRows]) -> list[Check]:
    """Return the lines of the report about stored secrets, from the number of secrets per table."""
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

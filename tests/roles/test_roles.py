"""Tests of the grants of each database role, also for tables of a later migration."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.roles.conftest import DATABASE

from crm_api.dev.embedded_servers import ServerUrls
from crm_api.dev.server_processes import SERVICE_LOGIN
from crm_api.domain.all_tables import metadata
from crm_api.domain.monitoring.backups import postgres
from crm_api.platform import database_roles
from crm_api.platform.database import open_engine
from crm_api.platform.database_roles import APPEND_ONLY, HIDDEN, READ_ONLY
from crm_api.platform.migration_runner import upgrade
from crm_api.platform.server_programs import find_postgres

SERVICE, REPORTS = f"{DATABASE}_app", f"{DATABASE}_reader"
GRANTS = text("""
    SELECT table_name AS name, string_agg(privilege_type, ' ' ORDER BY privilege_type) AS acts
    FROM information_schema.role_table_grants
    WHERE grantee = :role AND table_schema = 'public' GROUP BY table_name
""")
SEEN = text("""
    SELECT table_name AS name, array_agg(CAST(column_name AS text)) AS columns
    FROM information_schema.role_column_grants
    WHERE grantee = :role AND table_schema = 'public' GROUP BY table_name
""")
SECRET_NAME = re.compile(r"secret|sealed|password|token|_hash$|^key$|(^|_)url$")
NOT_SECRET = {
    # These are keyed digests. Without the secret key, they identify no person.
    ("consent_entry", "phone_hash"),
    ("erased_number", "phone_hash"),
    ("outcome", "external_hash"),
    ("reply_example", "phone_hash"),
    # These are digests of figures.
    ("attribution_run", "inputs_hash"),
    ("attribution_run", "result_hash"),
    # This is the ZIP code, city or source to which the sums in the row belong.
    ("insight_person_tally", "key"),
    # These tokens are created for each run or call. They are useless outside the database.
    ("reconciliation_run", "lease_token"),
    ("phone_validation", "lease_token"),
    ("send_attempt", "token"),
}


async def grants(owner: AsyncEngine, role: str) -> dict[str, str]:
    async with owner.connect() as connection:
        return {row.name: row.acts for row in await connection.execute(GRANTS, {"role": role})}


async def refused(engine: AsyncEngine, statement: str) -> str:
    with pytest.raises(ProgrammingError) as caught:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(statement)
    return str(caught.value.orig)


async def test_service_may_change_every_table_except_append_only_ones(owner: AsyncEngine) -> None:
    found = await grants(owner, SERVICE)

    everything = {*metadata.tables, *READ_ONLY}
    assert found.keys() >= everything
    for name in everything:
        if name in READ_ONLY:
            assert found[name] == "SELECT"
        elif name in APPEND_ONLY:
            assert found[name] == "INSERT SELECT"
        else:
            assert found[name] == "DELETE INSERT SELECT UPDATE", name


@pytest.mark.parametrize("table", sorted(APPEND_ONLY))
@pytest.mark.parametrize(
    "statement", ["DELETE FROM {}", "UPDATE {} SET {} = {}", "TRUNCATE {}", "DROP TABLE {}"]
)
async def test_service_cannot_rewrite_history(
    engine: AsyncEngine, table: str, statement: str
) -> None:
    column = {"attribution_rule": "model", "consent_link": "digest", "outcome": "kind"}.get(
        table, "actor"
    )

    message = await refused(engine, statement.format(table, column, column))

    assert "permission denied" in message or "must be owner" in message


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "ALTER TABLE contact ADD COLUMN mine int",
        "ALTER TABLE audit_log DISABLE TRIGGER append_only",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION refuse_change() CASCADE",
        "SET session_replication_role = replica",
        "UPDATE alembic_version SET version_num = 'x'",
        "CREATE ROLE mine",
        "SET ROLE postgres",
        "COPY contact TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/hostname')",
    ],
)
async def test_service_has_no_ddl_and_cannot_bypass_its_grants(
    engine: AsyncEngine, statement: str
) -> None:
    message = await refused(engine, statement)

    assert re.search("permission denied|must be owner|must have the", message), message


async def test_reports_role_reads_every_column_except_secrets(owner: AsyncEngine) -> None:
    async with owner.connect() as connection:
        rows = await connection.execute(SEEN, {"role": REPORTS})
        seen: dict[str, set[str]] = {row.name: set(row.columns) for row in rows}

    for name, table in metadata.tables.items():
        columns = {column.name for column in table.columns}
        assert seen[name] == columns - HIDDEN.get(name, set()), name
    assert {"audit_log", "campaign_membership"} <= seen.keys()


def test_every_column_with_a_secret_name_is_hidden_or_listed() -> None:
    secret_names = {
        (name, column.name)
        for name, table in metadata.tables.items()
        for column in table.columns
        if SECRET_NAME.search(column.name)
    }
    hidden = {(name, column) for name, columns in HIDDEN.items() for column in columns}

    assert secret_names - NOT_SECRET <= hidden
    assert {name for name, _ in hidden} <= metadata.tables.keys()
    assert all(column in metadata.tables[name].columns for name, column in hidden)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT key_hash FROM api_key",
        "SELECT * FROM webhook_secret",
        "UPDATE contact SET first_name = 'x'",
        "INSERT INTO audit_log (actor, action, subject, created_at) VALUES ('', '', '', now())",
        "SELECT forget_audit_entries(now(), 1)",
        "SELECT clean_contact_search()",
        "SELECT analyze_contacts()",
    ],
)
async def test_reports_role_changes_nothing(reports: AsyncConnection, statement: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        await reports.exec_driver_sql(statement)


async def test_reports_role_reads_contacts_and_api_keys(reports: AsyncConnection) -> None:
    found = await reports.exec_driver_sql("SELECT id, phone FROM contact")
    keys = await reports.exec_driver_sql("SELECT id, name FROM api_key")

    assert (found.all(), keys.all()) == ([], [])


async def test_new_table_gets_its_grants_with_the_migration(owner: AsyncEngine) -> None:
    """Prove that the migration that adds a table also gives the table its grants.

    The test adds a table as a migration would. The database already has the newest revision, so
    ``upgrade`` only renews the grants.
    """
    url = owner.url.render_as_string(hide_password=False)
    async with owner.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE later (id int)")
        await connection.exec_driver_sql(f"GRANT DELETE ON audit_log TO {SERVICE}")
    try:
        at_once = await grants(owner, SERVICE)
        await upgrade(url)
        after = await grants(owner, SERVICE)
        read = await grants(owner, REPORTS)
        async with owner.connect() as connection:
            seen: Any = await connection.execute(SEEN, {"role": REPORTS})
            names = {row.name for row in seen}
    finally:
        async with owner.begin() as connection:
            await connection.exec_driver_sql("DROP TABLE later")

    assert at_once["later"] == "DELETE INSERT SELECT UPDATE"
    assert at_once["audit_log"] == "DELETE INSERT SELECT"
    assert after["audit_log"] == "INSERT SELECT"
    assert "later" in names
    assert read == {}


async def test_role_that_does_not_own_the_tables_renews_no_grants(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        assert await database_roles.renew(connection) is False


async def test_doctor_reports_roles_that_may_rewrite_history(
    owner: AsyncEngine, engine: AsyncEngine
) -> None:
    async with owner.connect() as connection:
        made = await database_roles.is_limited(connection)
        await connection.exec_driver_sql(f"ALTER ROLE {REPORTS} RENAME TO another")
        missing = await database_roles.is_limited(connection)
        await connection.rollback()
    async with engine.connect() as connection:
        service = await database_roles.is_limited(connection)

    assert (made, missing, service) == (True, False, True)


async def test_service_can_back_up_and_finds_nothing_to_migrate(engine: AsyncEngine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="REPEATABLE READ")
        snapshot = str(await plain.scalar(text("SELECT pg_export_snapshot()")))
        size = sum(len(part) for part in postgres.dump(url, snapshot=snapshot))

    await upgrade(url)

    assert size > 10_000


async def test_database_of_compose_starts_with_the_same_roles(urls: ServerUrls) -> None:
    """Prove that the database of the compose file starts with the roles of the service.

    The test runs the script of the compose file as the PostgreSQL image does on a new volume.
    """
    script = Path(__file__).parents[2] / "deploy" / "compose" / "roles.sh"
    server = make_url(str(urls.database_url))
    environment = {
        "PATH": f"{find_postgres()}:{os.environ['PATH']}",
        "PGHOST": str(server.query["host"]),
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": "postgres",
        "POSTGRES_APP_PASSWORD": "it's made up",
    }
    done = subprocess.run(  # noqa: S603, ASYNC221 - our own script, and nothing else runs here
        ["/bin/sh", str(script)], env=environment, capture_output=True, text=True, check=False
    )

    async with (
        open_engine(str(urls.database_url), pool_size=1) as engine,
        engine.begin() as connection,
    ):
        named = await connection.scalars(
            text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'crm\\_%' AND rolcanlogin")
        )
        is_member = await connection.scalar(
            text("SELECT pg_has_role('crm_service', 'crm_app', 'MEMBER')")
        )
        await connection.exec_driver_sql("DROP ROLE crm_service, crm_app, crm_reader")

    assert done.returncode == 0, done.stderr
    assert (list(named), is_member) == ([SERVICE_LOGIN], True)

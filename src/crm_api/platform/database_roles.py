"""Create the service role and the report role in the database, and grant their rights.

- The service role cannot run DDL, and cannot update or delete rows of the append-only tables.
- The report role can only read, and cannot read columns with secrets.

Neither role can log in: the operator adds logins to them (``docs/explanation/security.md``). A
third role, the owner, owns the tables and runs the migrations.
"""

from dataclasses import dataclass
from typing import Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

APPEND_ONLY = frozenset(
    {"attribution_rule", "audit_log", "consent_entry", "consent_link", "outcome"}
)
"""Tables in which the service may read and insert rows, but not update or delete rows."""
READ_ONLY = frozenset({"alembic_version"})
"""Tables that the service may only read."""
HIDDEN = {
    "api_key": {"key_hash"},
    "app_user": {"password_hash"},
    "calendar_account": {"sealed", "sync_token", "url"},
    "calendar_feed": {"token_hash"},
    "contact_import": {"fetch_token"},
    "erasure": {"sealed"},
    "holdout": {"hash_key"},
    "idempotency_key": {"key", "fingerprint", "headers", "body"},
    "media_fetch": {"url"},
    "outgoing_mail": {"body"},
    "push_subscription": {"endpoint", "p256dh", "auth"},
    "refresh_token": {"token_hash"},
    "root_secret": {"sealed"},
    "user_session": {"access_hash"},
    "user_ticket": {"token_hash"},
    "webhook_endpoint": {"url"},
    "webhook_health_check": {"token"},
    "webhook_key": {"sealed"},
    "webhook_secret": {"sealed"},
}
"""Columns that the database role for reports cannot read, because they contain secrets, hashes, or
secret URLs."""

_WHERE = text("""
    SELECT current_database() AS database,
           (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class
            WHERE oid = to_regclass('public.alembic_version')) AS is_owner
""")
_KNOWN = text("SELECT rolname FROM pg_roles WHERE rolname IN (:service, :reports)")
_COLUMNS = text("""
    SELECT c.relname AS name, array_agg(CAST(a.attname AS text) ORDER BY a.attnum) AS columns
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind IN ('r', 'p')
      AND a.attnum > 0 AND NOT a.attisdropped
    GROUP BY c.relname ORDER BY c.relname
""")
_DEFINERS = text("""
    SELECT CAST(CAST(oid AS regprocedure) AS text) FROM pg_proc
    WHERE pronamespace = CAST('public' AS regnamespace) AND prosecdef ORDER BY oid
""")


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Names of the service role and the report role of one database.

    Both roles are groups. A login (a role that can log in) has the rights of its group.

    Attributes:
        service: Group of the logins of web and worker processes.
        reports: Group of the logins that only read.
    """

    service: str
    reports: str

    @classmethod
    def of(cls, database: str) -> Self:
        """Return the role names for a database.

        The names contain the name of the database, because all databases of a server share their
        roles.
        """
        return cls(service=f"{database}_app", reports=f"{database}_reader")


async def make(connection: AsyncConnection) -> Roles:
    """Create the service role and the report role if they are missing, and grant their rights.

    The database user of ``connection`` must own the tables and the database. To create a role, the
    user must also have the right CREATEROLE.
    """
    roles, known, _ = await _look(connection)
    for name in (roles.service, roles.reports):
        if name not in known:
            await connection.exec_driver_sql(f"CREATE ROLE {_quoted(name)} NOLOGIN")
    await _allow(connection, roles)
    return roles


async def make_login(connection: AsyncConnection, name: str, *, group: str) -> None:
    """Create a login that has no password, and add it to a group.

    Call this function only for the database server that `crm-api up` starts.
    """
    if name not in await connection.scalars(_KNOWN, {"service": name, "reports": name}):
        await connection.exec_driver_sql(f"CREATE ROLE {_quoted(name)} LOGIN")
    await connection.exec_driver_sql(f"GRANT {_quoted(group)} TO {_quoted(name)}")


async def renew(connection: AsyncConnection) -> bool:
    """Grant the service role and the report role their rights on all tables.

    Call this function after a migration, which may have added tables.

    Returns:
        True if the rights were granted. False, without any change, if one of the roles does not
        exist, or if the user of this connection does not own the tables.
    """
    roles, known, is_owner = await _look(connection)
    if not (is_owner and known == {roles.service, roles.reports}):
        return False
    await _allow(connection, roles)
    return True


async def is_limited(connection: AsyncConnection) -> bool:
    """Return True if the service uses, or can use, a database role with limited rights.

    The result is True in each of these cases:

    - This connection uses a role that does not own the tables.
    - The service role and the report role exist, even if this connection uses the owner.
    """
    roles, known, is_owner = await _look(connection)
    return not is_owner or known == {roles.service, roles.reports}


async def _look(connection: AsyncConnection) -> tuple[Roles, set[str], bool]:
    where = (await connection.execute(_WHERE)).one()
    roles = Roles.of(str(where.database))
    found = await connection.scalars(_KNOWN, {"service": roles.service, "reports": roles.reports})
    return roles, set(found), bool(where.is_owner)


async def _allow(connection: AsyncConnection, roles: Roles) -> None:
    """Revoke all table rights of the service and report roles, and grant the rights that they need.

    Rights that do not concern tables, such as the use of sequences, are granted but never revoked
    from these roles. The change is part of the caller's transaction.
    """
    service, reports = _quoted(roles.service), _quoted(roles.reports)
    database = _quoted(str(await connection.scalar(text("SELECT current_database()"))))
    both = f"{service}, {reports}"
    by_default = "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
    statements = [
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA public TO {both}",
        f"GRANT CONNECT ON DATABASE {database} TO {both}",
        f"GRANT TEMPORARY ON DATABASE {database} TO {service}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {both}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {service}",
        # These default rights apply to tables that are created later, such as the partition of a
        # month.
        f"{by_default} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {service}",
        f"{by_default} GRANT USAGE, SELECT ON SEQUENCES TO {service}",
    ]
    for row in await connection.execute(_COLUMNS):
        table = _quoted(row.name)
        seen = [_quoted(name) for name in row.columns if name not in HIDDEN.get(row.name, ())]
        statements += [
            f"GRANT {_acts(row.name)} ON public.{table} TO {service}",
            f"GRANT SELECT ({', '.join(seen)}) ON public.{table} TO {reports}",
        ]
    for function in (await connection.scalars(_DEFINERS)).all():
        statements += [
            f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC",
            f"GRANT EXECUTE ON FUNCTION {function} TO {service}",
        ]
    for statement in statements:
        await connection.exec_driver_sql(statement)


def _acts(table: str) -> str:
    if table in READ_ONLY:
        return "SELECT"
    if table in APPEND_ONLY:
        return "SELECT, INSERT"
    return "SELECT, INSERT, UPDATE, DELETE"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

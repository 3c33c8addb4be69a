"""Tests of the command `crm-api users`: an invitation, and a link to reset a password."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from crm_api.cli.users import cli
from crm_api.dev.embedded_servers import ServerUrls
from crm_api.platform.encryption import hash_token

EMAIL = "olga@example.com"


@pytest.fixture
def environment(
    committed_db: AsyncEngine, database_url: str, urls: ServerUrls, tmp_path: Path
) -> dict[str, str]:
    assert committed_db.url.database
    return {
        "CRM_DATABASE_URL": database_url,
        "CRM_REDIS_URL": urls.redis_url or "",
        "CRM_DATA_DIR": str(tmp_path),
    }


async def run(environment: dict[str, str], *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, list(arguments), env=environment)


async def test_link_to_a_new_password_is_printed_for_an_active_user_only(
    environment: dict[str, str], committed_db: AsyncEngine
) -> None:
    invited = await run(environment, "invite", "--email", EMAIL, "--name", "Olga")
    early = await run(environment, "reset-password", "--email", EMAIL)
    unknown = await run(environment, "reset-password", "--email", "nobody@example.com")
    async with committed_db.begin() as connection:
        await connection.execute(
            text("UPDATE app_user SET status = 'active', password_hash = 'x' WHERE email = :email"),
            {"email": EMAIL},
        )
    done = await run(environment, "reset-password", "--email", EMAIL.upper())

    assert (invited.exit_code, early.exit_code, unknown.exit_code) == (0, 2, 2), early.output
    assert "No user has this" in unknown.output
    assert done.exit_code == 0, done.output
    base, _, token = done.stdout.strip().partition("/reset-password?token=")
    assert base == "http://127.0.0.1:8000"
    async with committed_db.connect() as connection:
        kept = await connection.scalars(
            text("SELECT token_hash FROM user_ticket WHERE purpose = 'password_reset'")
        )
        assert kept.all() == [hash_token(token)]
        noted = text("SELECT actor FROM audit_log WHERE action = 'make_reset_link'")
        assert (await connection.scalars(noted)).all() == ["command line"]

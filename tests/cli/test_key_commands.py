"""Tests of the command `crm-api keys`, which needs no API key itself."""

import re
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from crm_api.cli.keys import cli
from crm_api.dev.embedded_servers import ServerUrls
from crm_api.domain.identity.api_keys.authentication import KEY_PATTERN


class Runner:
    """Runs the commands against one database."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def __call__(self, *arguments: str) -> str:
        done = CliRunner().invoke(cli, list(arguments), env=self._environment)
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    def refused(self, *arguments: str) -> str:
        done = CliRunner().invoke(cli, list(arguments), env=self._environment)
        assert done.exit_code != 0
        return done.output + repr(done.exception)


@pytest.fixture
def run(committed_db: AsyncEngine, database_url: str, urls: ServerUrls, tmp_path: Path) -> Runner:
    assert committed_db.url.database
    return Runner(
        {
            "CRM_DATABASE_URL": database_url,
            "CRM_REDIS_URL": urls.redis_url or "",
            "CRM_DATA_DIR": str(tmp_path),
        }
    )


def id_of(line: str) -> str:
    return line.split(maxsplit=1)[0]


def test_key_is_created_listed_rotated_and_revoked(run: Runner) -> None:
    made = run("create", "--name", "till", "--scopes", "contacts:read", "--expires-in-days", "90")
    first = run("list")
    rotated = run("rotate", id_of(first), "--overlap-seconds", "0")
    second = run("list", "--status", "active")
    revoked = run("revoke", id_of(second))

    assert KEY_PATTERN.fullmatch(made)
    shown = rf"{made[:8]}…  active +expires \d{{4}}-.* used never .*contacts:read  till"
    assert re.search(shown, first)
    assert KEY_PATTERN.fullmatch(rotated)
    assert rotated != made
    assert id_of(second) != id_of(first)
    assert run("list", "--status", "expired").startswith(id_of(first))
    assert revoked == "The key was revoked."
    assert run("list", "--status", "revoked").startswith(id_of(second))
    assert "There is no API key with this id" in run.refused("revoke", id_of(second))


def test_invalid_scope_is_named(run: Runner) -> None:
    assert "The scope 'contact:read' does not exist" in run.refused(
        "create", "--name", "x", "--scopes", "contact:read"
    )


def test_name_is_needed(run: Runner) -> None:
    assert "The text is empty" in run.refused("create", "--name", "", "--scopes", "admin")

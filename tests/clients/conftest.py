"""Fixtures for tests of generated clients: the OpenAPI document, Node, and a running service."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.clients import node
from tests.dev.test_up import command, stop, up
from tests.free_ports import free_port
from tests.missing_tools import end_without
from tests.prepared_cluster import copy_cluster

from crm_api.app import build_app
from crm_api.platform.settings import Settings

PASSWORD = "a test's long passphrase"  # noqa: S105 - made up


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service that `crm-api up` started, its user, and the settings for other commands."""

    url: str
    email: str
    settings: dict[str, str]


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    return build_app(Settings()).openapi()


@pytest.fixture(scope="session")
def document_file(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_json(tmp_path_factory.mktemp("document") / "openapi.json", document)


def write_json(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="session")
def _node() -> None:
    """Skip a test, or fail it in the CI run, if Node or its packages are missing."""
    reason = node.why_not()
    if reason is not None:
        end_without(reason)


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    place = Path(tempfile.mkdtemp(prefix="crm-test-", dir="/tmp"))
    folder = place / "data"
    copy_cluster(folder)
    with up(folder, free_port()) as run:
        settings = dict(
            line.split("=", 1) for line in (folder / "running.env").read_text().splitlines()
        )
        token = command(
            *("users", "invite", "--email", "olga@example.com", "--name", "Olga"),
            **settings,
        ).stdout.strip()
        body = {"token": token, "password": PASSWORD}
        accepted = httpx.post(f"{run.url}/v1/auth/invitations/accept", json=body, timeout=20)
        email = accepted.raise_for_status().json()["email"]
        yield Service(url=run.url, email=email, settings=settings)
        stop(run, run.process.terminate)
    shutil.rmtree(place)

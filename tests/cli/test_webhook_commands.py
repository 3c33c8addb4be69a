"""Tests of the commands `crm-api webhooks` and `crm-api doctor`, with a local sandbox."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.dev.test_up import command, up
from tests.free_ports import free_port
from tests.prepared_cluster import copy_cluster

from crm_api.dev.sandbox.app import RunningSandbox, run_sandbox
from crm_api.dev.sandbox.config import SandboxConfig

DATED_HEADERS = {"authorization": "key", "quo-api-version": "2026-03-30"}
KEY_SHAPES = re.compile(r"whsec_|[A-Za-z0-9+/]{31,}=")


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="crm-test-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def served() -> Iterator[RunningSandbox]:
    """Yield a sandbox that the service uses as the real provider: each webhook has its own key."""
    config = SandboxConfig(people="silent", own_keys=True, rate_per_second=None)
    with run_sandbox(config) as running:
        yield running


def _table_text(table: str) -> str:
    """Return the text of a table without its border lines."""
    return " ".join(re.sub("[│┃]", " ", table).split())


def _environment(served: RunningSandbox, port: int, folder: Path) -> dict[str, Any]:
    return {
        "CRM_OPENPHONE_API_KEY": "a real key",
        "CRM_OPENPHONE_BASE_URL": served.url,
        "CRM_PORT": str(port),
        "CRM_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "CRM_DATA_DIR": str(folder),
        "CRM_SETTLE_GRACE_SECONDS": "120",
    }


def test_webhook_is_registered_tested_rotated_and_repaired(
    served: RunningSandbox, root: Path
) -> None:
    """Prove that a webhook is set up, rotated and repaired without copying a key by hand."""
    folder, port = root / "data", free_port()
    values = _environment(served, port, folder)
    outputs: list[str] = []

    def run(*arguments: str) -> str:
        done = command(*arguments, **values)
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append(done.stdout)
        return done.stdout

    refused = command("up", **values)
    registered = run("webhooks", "register")
    again = run("webhooks", "register")
    with up(folder, port, account=None, **values) as running:
        healthy = run("doctor")
        tested = run("webhooks", "test")
        rotated = run("webhooks", "rotate")
        tested_again = run("webhooks", "test")
        listed = run("webhooks", "list")
        hook = httpx.get(f"{served.url}/webhooks", headers=DATED_HEADERS).json()["data"][0]
        httpx.patch(
            f"{served.url}/webhooks/{hook['id']}",
            headers=DATED_HEADERS,
            json={"status": "disabled"},
        )
        unhealthy = command("doctor", **values)
        repaired = run("webhooks", "register")
        output = running.output

    assert refused.returncode == 2
    assert refused.stderr.startswith("crm-api: CRM_OPENPHONE_WEBHOOK_SECRETS is needed")
    assert "crm-api webhooks register" in refused.stderr
    assert registered.startswith("Registered webhook 1")
    assert "needs no change" in again
    assert "broken" not in healthy
    assert "the hourly test message is not sent" in _table_text(healthy)
    assert "delivered, verified and stored" in tested
    assert "has a new key" in rotated
    assert "delivered, verified and stored" in tested_again
    assert "12 of 12 needed" in listed
    assert unhealthy.returncode == 1
    assert "is disabled" in unhealthy.stdout
    assert "crm-api webhooks register" in _table_text(unhealthy.stdout)
    assert "status" in repaired
    assert not KEY_SHAPES.search("".join(outputs))
    for registered_webhook in served.app.workspace.deliverer.hooks.values():
        assert registered_webhook.key not in "".join(outputs) + output


def test_doctor_names_the_command_that_registers_a_missing_webhook(root: Path) -> None:
    copy_cluster(root / "sandbox")
    with up(root / "sandbox", free_port()) as running:
        values = {
            "CRM_DATA_DIR": str(running.folder),
            "CRM_PUBLIC_URL": "http://127.0.0.1:1",
            "CRM_PORT": str(running.port),
        }
        done = command("doctor", **values)
        listed = command("webhooks", "list", **values)
        tested = command("webhooks", "test", **values)

    text = _table_text(done.stdout)
    assert done.returncode == 1
    assert "Webhooks that point to other addresses: 1" in text
    assert "Run `crm-api webhooks register`" in text
    assert "not ours" in listed.stdout
    assert tested.returncode == 1
    assert tested.stderr.startswith("crm-api: No enabled webhook")
    assert tested.stderr.count("\n") == 1


def test_legacy_webhooks_are_registered_in_addition(root: Path) -> None:
    copy_cluster(root / "both")
    with up(root / "both", free_port()) as running:
        values = {"CRM_DATA_DIR": str(running.folder), "CRM_PORT": str(running.port)}
        done = command("webhooks", "register", "--legacy", **values)
        listed = command("webhooks", "list", **values)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Registered legacy webhook") == 4
    assert listed.stdout.count("legacy") == 4
    assert "The provider sends all needed events to this service." in listed.stdout

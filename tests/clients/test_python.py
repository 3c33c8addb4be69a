"""Prove that the Python client is generated without a warning, and that the example works."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.clients.conftest import Service
from tests.clients.node import ROOT
from tests.dev.test_up import command

PYTHON = ROOT / "clients" / "python"
SCOPES = "contacts:read,contacts:write,campaigns:read,campaigns:write,campaigns:send,webhooks:write"
EXAMPLE_OUTPUT = """\
key tour: 6 scopes
refused: missing_scope
created +16175550185; sent again: the same person True
refused: contact_exists, that person True
changed: Granite Foundations
refused: changed_since
imported 3 of 3
read in pages of two: Bruno, Carmen, Daria
started: scheduled
reported by webhook: completed, this campaign True
"""


@dataclass(frozen=True, kw_only=True)
class Generated:
    """The output of the generator, and the folder with its package."""

    output: str
    status: int
    folder: Path


@pytest.fixture(scope="module")
def generated(document_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Generated:
    folder = tmp_path_factory.mktemp("python-client")
    options = ("--meta", "none", "--output-path", "crm_api_client", "--fail-on-warning")
    done = subprocess.run(  # noqa: S603 - a pinned package
        [
            str(Path(sys.executable).with_name("openapi-python-client")),
            *("generate", "--path", str(document_file), *options),
            *("--config", str(PYTHON / "config.yml")),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return Generated(output=done.stdout + done.stderr, status=done.returncode, folder=folder)


def test_client_is_generated_without_a_warning(generated: Generated) -> None:
    assert generated.status == 0, generated.output


def test_the_example_runs(generated: Generated, service: Service) -> None:
    made = command("keys", "create", "--name", "tour", "--scopes", SCOPES, **service.settings)

    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(PYTHON / "example.py")],
        env={
            "CRM_URL": service.url,
            "CRM_API_KEY": made.stdout.strip(),
            "PYTHONPATH": str(generated.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd=generated.folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == EXAMPLE_OUTPUT

"""Prove that the generated TypeScript client has correct types, and that the example works."""

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.clients import node
from tests.clients.conftest import PASSWORD, Service

EXAMPLE_OUTPUT = """\
signed in as olga@example.com, owner
created +16175550181; sent again: the same person true, replayed true
refused: 409 contact_exists, that person true
changed: Granite Foundations
refused: 412 changed_since
imported 3 of 3 onto the list Tour
read in pages of two: Bruno, Carmen, Daria
a preview: "Hi Bruno, Granite here. Reply STOP to opt out.", 3 segments, $0.03
started: scheduled
completed: 3 people, 0 still to text
signed out
"""


def test_the_example_runs(service: Service, project: Path) -> None:
    done = node.run_script(
        "example.ts",
        cwd=project,
        CRM_URL=service.url,
        CRM_EMAIL=service.email,
        CRM_PASSWORD=PASSWORD,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == EXAMPLE_OUTPUT


@pytest.fixture(scope="session")
def project(document_file: Path, tmp_path_factory: pytest.TempPathFactory, _node: None) -> Path:
    """Return a folder with the client, the generated code, and the scripts of these tests."""
    folder = tmp_path_factory.mktemp("typescript")
    for source in (*node.TYPESCRIPT.glob("*.ts"), *Path(__file__).parent.glob("*.ts")):
        shutil.copy(source, folder)
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(node.TYPESCRIPT / name, folder)
    (folder / "node_modules").symlink_to(node.TYPESCRIPT / "node_modules")
    generated = node.run("openapi-ts", "--input", str(document_file), cwd=folder)
    assert generated.returncode == 0, generated.stderr
    return folder


def test_types_are_strict_and_refuse_misuse(project: Path) -> None:
    compiled = node.run("tsc", "--pretty", "false", cwd=project)

    assert compiled.stdout == ""
    assert compiled.returncode == 0


def test_client_renews_tokens_and_resumes_streams(project: Path) -> None:
    done = node.run_script("behaviour.ts", cwd=project)

    assert done.returncode == 0, done.stdout + done.stderr


def test_packages_are_pinned_by_hash_without_an_address() -> None:
    lock = (node.TYPESCRIPT / "package-lock.json").read_text()
    package = json.loads((node.TYPESCRIPT / "package.json").read_text())
    named = package.get("dependencies", {}) | package["devDependencies"]
    locked = {name: one for name, one in json.loads(lock)["packages"].items() if name}

    assert [version for version in named.values() if not re.fullmatch(r"[\d.]+", version)] == []
    assert [
        name for name, one in locked.items() if not one["integrity"].startswith("sha512-")
    ] == []
    assert "://" not in lock

"""The types of the generated TypeScript client are correct, and the example works with it."""

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.clients import node
from tests.clients.conftest import PASSWORD, Service

EXAMPLE_SAYS = """\
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


@pytest.mark.usefixtures("_node")
def test_the_example_runs(service: Service) -> None:
    done = node.run_script(
        "example.ts",
        cwd=node.TYPESCRIPT,
        CRM_URL=service.url,
        CRM_EMAIL=service.email,
        CRM_PASSWORD=PASSWORD,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == EXAMPLE_SAYS


@pytest.fixture
def project(tmp_path: Path, _node: None) -> Path:
    """A copy of the client that contains the scripts of these tests."""
    for source in (*node.TYPESCRIPT.glob("*.ts"), *Path(__file__).parent.glob("*.ts")):
        shutil.copy(source, tmp_path)
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(node.TYPESCRIPT / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(node.TYPESCRIPT / "node_modules")
    return tmp_path


def test_types_are_strict_and_refuse_misuse(document_file: Path, project: Path) -> None:
    options = ("--default-non-nullable=false", "--output", "schema.d.ts")

    generated = node.run("openapi-typescript", str(document_file), *options, cwd=project)
    compiled = node.run("tsc", "--pretty", "false", cwd=project)

    assert generated.returncode == 0, generated.stderr
    assert compiled.stdout == ""
    assert compiled.returncode == 0


def test_it_renews_tokens_and_resumes_streams(project: Path) -> None:
    done = node.run_script("behaviour.ts", cwd=project)

    assert done.returncode == 0, done.stdout + done.stderr


def test_packages_are_pinned_by_hash_and_by_no_address() -> None:
    lock = (node.TYPESCRIPT / "package-lock.json").read_text()
    package = json.loads((node.TYPESCRIPT / "package.json").read_text())
    named = package["dependencies"] | package["devDependencies"]
    locked = {name: one for name, one in json.loads(lock)["packages"].items() if name}

    assert [version for version in named.values() if not re.fullmatch(r"[\d.]+", version)] == []
    assert [
        name for name, one in locked.items() if not one["integrity"].startswith("sha512-")
    ] == []
    assert "://" not in lock

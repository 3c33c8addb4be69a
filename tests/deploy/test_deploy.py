"""Prove that the deployment files are valid, and that their commands and settings exist."""

import configparser
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from shutil import which
from typing import Any

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement

from crm_api.cli import COMMANDS
from crm_api.cli.serve import CLEANUP_SECONDS, GRACE_SECONDS
from crm_api.platform.settings import Settings
from crm_api.workers.worker import FINISH_SECONDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFESTS = sorted(
    path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.stem != "kustomization"
)
SETTINGS = {f"CRM_{name.upper()}" for name in Settings.model_fields}
PLACES = {"/tmp", "/data"}  # noqa: S108 - in the container, empty and its own


def documents(path: Path) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all(path.read_text())


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_fit_kubernetes(path: Path) -> None:
    for document in documents(path):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_kustomization_names_every_manifest() -> None:
    (kustomization,) = documents(DEPLOY / "kubernetes" / "kustomization.yaml")

    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS]


def test_containers_run_existing_commands_and_write_only_to_their_volumes() -> None:
    containers = [
        container
        for path in MANIFESTS
        for document in documents(path)
        if document["kind"] in {"Deployment", "Job"}
        for container in document["spec"]["template"]["spec"]["containers"]
    ]

    assert [container["args"][0] for container in containers] == ["serve", "migrate", "worker"]
    for container in containers:
        assert container["args"][0] in COMMANDS
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == PLACES


def test_prometheus_scrapes_the_ports_of_the_containers() -> None:
    settings = next(
        document["data"]
        for document in documents(DEPLOY / "kubernetes" / "config.yaml")
        if document["kind"] == "ConfigMap"
    )
    for name, port in (("api", "CRM_PORT"), ("worker", "CRM_WORKER_METRICS_PORT")):
        pods = next(documents(DEPLOY / "kubernetes" / f"{name}.yaml"))["spec"]["template"]
        annotations = pods["metadata"]["annotations"]
        (container,) = pods["spec"]["containers"]

        assert annotations["prometheus.io/scrape"] == "true"
        assert annotations["prometheus.io/path"] == "/metrics"
        assert annotations["prometheus.io/port"] == settings[port]
        assert [one["containerPort"] for one in container["ports"]] == [int(settings[port])]


def test_workers_of_compose_are_reachable_from_other_containers() -> None:
    (compose,) = documents(DEPLOY.parent / "compose.yaml")
    given = compose["services"]["worker"]["environment"]

    assert given["CRM_HOST"] == "0.0.0.0"  # noqa: S104 - in its own network
    assert given["CRM_WORKER_METRICS_PORT"] == 9101
    assert given.items() >= compose["x-crm"]["environment"].items()


def test_settings_in_the_files_exist() -> None:
    given = set()
    for path in MANIFESTS:
        for document in documents(path):
            given |= {*document.get("data", {}), *document.get("stringData", {})}
    environment = (DEPLOY / "systemd" / "crm-api.env").read_text()
    given |= set(re.findall(r"^(CRM_\w+)=", environment, re.MULTILINE))

    assert given
    assert given <= SETTINGS


def test_every_process_gets_the_time_to_end_cleanly() -> None:
    worker = Settings().call_timeout_seconds + FINISH_SECONDS
    server = GRACE_SECONDS + CLEANUP_SECONDS
    (config,) = (
        one["data"]
        for one in documents(DEPLOY / "kubernetes" / "config.yaml")
        if one["kind"] == "ConfigMap"
    )
    pods = [
        document["spec"]["template"]["spec"]
        for path in MANIFESTS
        for document in documents(path)
        if document["kind"] == "Deployment"
    ]
    given = {pod["containers"][0]["args"][0]: pod["terminationGracePeriodSeconds"] for pod in pods}
    compose = yaml.safe_load((DEPLOY.parent / "compose.yaml").read_text())
    patience = int(compose["x-crm"]["stop_grace_period"].removesuffix("s"))

    assert given["serve"] > float(config["CRM_DRAIN_SECONDS"]) + server
    assert given["worker"] > worker
    assert stop_seconds("crm-api.service") > 8 + server
    assert stop_seconds("crm-api-worker.service") > worker
    assert patience > max(worker, 20 + server)


def stop_seconds(unit: str) -> int:
    text = (DEPLOY / "systemd" / unit).read_text()
    found = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_units_run_commands_that_exist(path: Path, tmp_path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(path.read_text())
    service = unit["Service"]
    started = [service[name] for name in ("ExecStartPre", "ExecStart") if name in service]

    assert all(line.split()[1] in COMMANDS for line in started)
    if which("systemd-analyze") is not None:
        here = tmp_path / path.name
        here.write_text(path.read_text().replace("/opt/crm-api/bin/crm-api", "/bin/true"))
        checked = subprocess.run(  # noqa: S603 - a fixed command
            ["systemd-analyze", "verify", str(here)],  # noqa: S607 - the machine's own
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr


def needed_by(names: set[str]) -> set[str]:
    """Return these packages, and all packages that they need."""
    found: set[str] = set()
    while names:
        name = names.pop()
        found.add(name)
        asked = map(Requirement, requires(name) or ())
        used = (one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""}))
        names |= {one.name.lower() for one in used} - found
    return found


def test_image_is_built_with_every_package_of_the_build_backend() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["build"]
    (names,) = re.findall(r"sed -nE '/\^\((.+?)\)==/", (ROOT / "Dockerfile").read_text())
    packages = (ROOT / "requirements-up.txt").read_text()
    pinned = re.findall(r"^([a-z0-9-]+)==", packages, re.MULTILINE)

    assert set(names.split("|")) == needed_by(set(group))
    assert set(names.split("|")) <= set(pinned)


def test_compose_runs_commands_and_settings_that_exist() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    ours = {name: one for name, one in services.items() if one["image"] == "crm-api"}

    assert set(ours) == {"migrate", "api", "worker", "sandbox", "demo"}
    for one in ours.values():
        assert one["command"][0] in COMMANDS
        assert {name for name in one["environment"] if name.startswith("CRM_")} <= SETTINGS


COMPOSE = yaml.safe_load((DEPLOY.parent / "compose.yaml").read_text())
OURS = {name: one for name, one in COMPOSE["services"].items() if one.get("image") == "crm-api"}


def test_our_containers_are_read_only_and_have_no_privileges() -> None:
    assert {"api", "worker", "migrate"} <= OURS.keys()
    for name, service in OURS.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        places = {volume.split(":")[1] for volume in service["volumes"]}
        assert {*service["tmpfs"], *places} == PLACES


def test_only_migrations_log_in_as_the_owner_of_the_tables() -> None:
    logins = {
        name: service["environment"]["CRM_DATABASE_URL"].split("//")[1].split(":")[0]
        for name, service in OURS.items()
    }
    secrets = {
        document["metadata"]["name"]: document["stringData"]["CRM_DATABASE_URL"]
        for document in documents(DEPLOY / "kubernetes" / "config.yaml")
        if document["kind"] == "Secret"
    }

    assert logins.pop("migrate") == "crm"
    assert set(logins.values()) == {"crm_service"}
    assert secrets["crm-api"].startswith("postgresql://crm_service:")
    for path in MANIFESTS:
        is_owner = "crm-api-owner" in path.read_text()
        assert is_owner == (path.stem in {"migrate", "config"})

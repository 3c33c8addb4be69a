"""Tests of the container image that need no build: the advice to users, and the packages."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from shutil import which
from typing import NoReturn

import httpx
import pytest
from tests.dev.test_stopping import WITHIN_SECONDS, wait_until
from tests.free_ports import free_port

from crm_api.cli.doctor_checks import check_files
from crm_api.platform import server_programs
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]
TRIM = ROOT / "deploy" / "container" / "trim.sh"
NAMES = """
import importlib, pkgutil
import crm_api
for module in pkgutil.walk_packages(crm_api.__path__, "crm_api."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from datetime import date
from crm_api.domain.campaigns.templates.template_text import compile_body, render_body
from crm_api.domain.consent.legal_rules.rules import is_federal_holiday
from crm_api.domain.consent.reply_reader.reader import read_reply
from crm_api.domain.kit.phone import parse_phone
print(parse_phone("(617) 555-0142"))
text = "{{ first_name | capitalize }}, {{ attributes.when | date: '%B %d' }}"
print(render_body(compile_body(text), {"first_name": "ada", "attributes": {"when": "2026-11-25"}}))
print(is_federal_holiday(date(2026, 11, 26)), read_reply("please never text me again").kind)
"""
"""A program that imports every module, and uses the packages from which the image removes data."""


@pytest.fixture(scope="module")
def trimmed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return variables with which Python finds only the packages of the image.

    The script of the image has removed unneeded data from these packages. If the machine does not
    have the program `strip`, the compiled packages keep their symbols.
    """
    folder = tmp_path_factory.mktemp("image")
    packages, programs = folder / "site-packages", folder / "bin"
    for path in (packages, programs):
        path.mkdir()
    if which("strip") is None:
        (programs / "strip").symlink_to(str(which("true")))
    wanted = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    for name in wanted:
        # Some packages in the list are only for other versions of Python.
        with suppress(PackageNotFoundError):
            for file in distribution(name).files or ():
                source = Path(str(file.locate()))
                if ".." not in file.parts and source.is_file():
                    (packages / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, packages / file)
    paths = f"{os.environ['PATH']}:{programs}"
    subprocess.run([str(which("sh")), TRIM, packages], env={"PATH": paths}, check=True)  # noqa: S603 - our own
    return {"PATH": paths, "PYTHONPATH": f"{packages}:{ROOT / 'src'}"}


@pytest.fixture
def _no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate the image, which has no server programs."""

    def find() -> NoReturn:
        raise StartError("none")

    monkeypatch.setattr(server_programs, "find_postgres", find)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    server_programs.can_start_servers.cache_clear()
    yield
    server_programs.can_start_servers.cache_clear()


@pytest.mark.usefixtures("_no_servers")
def test_advice_without_server_programs_does_not_name_up(tmp_path: Path) -> None:
    settings = Settings.from_env({"CRM_DATA_DIR": str(tmp_path)})
    for require in (settings.require_database_url, settings.require_redis_url):
        with pytest.raises(SettingsError) as caught:
            require()
        assert "crm-api up" not in str(caught.value)
        assert "is not set; set it to " in str(caught.value)
    advice = " ".join(check.advice for check in check_files(settings))
    assert "set CRM_SECRET_KEY" in advice
    assert "crm-api up" not in advice


def test_advice_with_server_programs_names_up(tmp_path: Path) -> None:
    settings = Settings.from_env({"CRM_DATA_DIR": str(tmp_path)})

    with pytest.raises(SettingsError, match="run `crm-api up`, which starts a database"):
        settings.require_database_url()


def test_every_module_works_with_the_packages_of_the_image(trimmed: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-S", "-c", NAMES],
        env=trimmed,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    said = ["+16175550142", "Ada, November 25", "True opt_out"]
    assert done.stdout.splitlines() == said


@pytest.mark.usefixtures("committed_db")
async def test_the_service_works_with_the_packages_of_the_image(
    trimmed: dict[str, str], settings: Settings
) -> None:
    port = free_port()
    values = {
        "CRM_DATABASE_URL": settings.require_database_url(),
        "CRM_REDIS_URL": settings.require_redis_url(),
        "CRM_SECRET_KEY": settings.require_secret_key().decode(),
        "CRM_DATA_DIR": str(settings.data_dir),
        "CRM_PORT": str(port),
    }
    command = (sys.executable, "-S", "-m", "crm_api.cli", "serve")
    process = await asyncio.create_subprocess_exec(*command, env=trimmed | values)
    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=WITHIN_SECONDS) as client:

            async def is_ready() -> bool:
                try:
                    return (await client.get("/readyz")).is_success
                except httpx.TransportError:
                    return False

            await wait_until(is_ready)
            for path in ("/docs", "/openapi.json"):
                assert (await client.get(path)).status_code == 200
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_SECONDS):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_the_image_is_trimmed_by_the_script_of_this_test() -> None:
    name = TRIM.relative_to(ROOT)

    assert f"COPY {name} /" in (ROOT / "Dockerfile").read_text()
    assert f"!{name.parent}" in (ROOT / ".dockerignore").read_text().splitlines()

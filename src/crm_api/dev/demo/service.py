"""Find a running service for the demo; if there is none, run `crm-api up` during the demo."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import httpx

from crm_api.platform.data_dir import running_settings
from crm_api.platform.processes import StartError, kill_group, own_account, start
from crm_api.platform.setting_fields import SANDBOX_PORT_OFFSET
from crm_api.platform.settings import Settings

READY_SECONDS = 120.0
STOP_SECONDS = 60.0
_POLL_SECONDS = 0.25
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound


class DemoError(StartError):
    """The demo cannot continue; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Service:
    """A running service: the URL of its API, the URL of its sandbox, and its admin key."""

    api_url: str
    sandbox_url: str
    admin_key: str


def refuse_real_provider(settings: Settings) -> None:
    """Check that the settings use the sandbox.

    Raises:
        DemoError: A real API key is set, so the demo would send messages to people.
    """
    if not settings.uses_sandbox:
        raise DemoError(
            "CRM_OPENPHONE_API_KEY is set, but the demo runs only on the sandbox, because it must "
            "not send real messages; unset CRM_OPENPHONE_API_KEY"
        )


@contextmanager
def service(
    variables: Mapping[str, str], say: Callable[[str], None], *, url: str | None = None
) -> Iterator[Service]:
    """Yield a service that is ready.

    If ``url`` is given, the service at this URL is used. If not, a running service is searched for:
    in the data directory, then at the host and port of the settings, then at ``CRM_PUBLIC_URL``. If
    no service is found, this function starts one, and stops it at the end of the block.

    Args:
        variables: The ``CRM_*`` variables of the demo.

    Raises:
        DemoError: A real API key is set, or the service does not become ready.
    """
    settings = Settings.from_env(variables)
    refuse_real_provider(settings)
    found = running_settings(settings.data_dir) if url is None else {}
    here = _service(Settings.from_env({**variables, **found}), settings.data_dir)
    if url is not None:
        here = replace(here, api_url=url.rstrip("/"))
    elsewhere = replace(here, api_url=settings.public_base_url)
    if url is None and not found and not _answers(here) and _answers(elsewhere):
        here = elsewhere
    if url is not None or found or _answers(here):
        say(f"using the running service at {here.api_url}")
        _wait_until_ready(here, lambda: not found or bool(running_settings(settings.data_dir)))
        yield _with_key(here, settings.data_dir)
        return
    say("no service is running; starting `crm-api up`, which will be stopped at the end")
    with _started(variables) as (process, log):
        _wait_until_ready(here, lambda: process.poll() is None, log=log)
        yield _with_key(here, settings.data_dir)
        say("stopping the service")


def _service(settings: Settings, folder: Path) -> Service:
    host = _EVERYWHERE.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    sandbox_url = (
        settings.provider_url
        if settings.openphone_base_url is not None
        else f"http://127.0.0.1:{settings.port + SANDBOX_PORT_OFFSET}"
    )
    given = settings.bootstrap_api_key
    key = given.get_secret_value() if given is not None else _kept_key(folder)
    return Service(f"http://{host}:{settings.port}", sandbox_url, key)


def _kept_key(folder: Path) -> str:
    with suppress(OSError):
        return (folder / "admin-key").read_text().strip()
    return ""


def _with_key(found: Service, folder: Path) -> Service:
    """Return the service with its admin key, read from ``folder`` if ``found`` has no key.

    Raises:
        DemoError: The file with the admin key cannot be read.
    """
    key = found.admin_key or _kept_key(folder)
    if not key:
        raise DemoError(
            f"the admin key in {folder / 'admin-key'} cannot be read; set CRM_BOOTSTRAP_API_KEY to "
            "the admin key of the service"
        )
    return Service(found.api_url, found.sandbox_url, key)


def _answers(found: Service) -> bool:
    """Return True if the service is ready and we have its admin key."""
    return bool(found.admin_key) and _is_ready(found)


def _is_ready(found: Service) -> bool:
    try:
        return httpx.get(f"{found.api_url}/readyz", timeout=5).is_success
    except httpx.HTTPError:
        return False


def _wait_until_ready(
    found: Service, is_alive: Callable[[], bool], *, log: IO[bytes] | None = None
) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(found):
        if not is_alive():
            raise DemoError(
                _last_line(log)
                or f"the service at {found.api_url} has stopped; start it again with `crm-api up`"
            )
        if time.monotonic() > deadline:
            raise DemoError(
                f"the service at {found.api_url} did not become ready in {READY_SECONDS:.0f} s; "
                "GET /readyz shows why"
            )
        time.sleep(_POLL_SECONDS)


def _last_line(log: IO[bytes] | None) -> str | None:
    if log is None:
        return None
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("crm-api: ") if lines else None


@contextmanager
def _started(
    variables: Mapping[str, str],
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run `crm-api up` as a child process until the block ends; its output goes to a file."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
    with tempfile.TemporaryFile() as log:
        process = start(
            [sys.executable, "-m", "crm_api.cli", "up"],
            account=own_account(),
            death_signal=signal.SIGTERM,
            environment={**others, **variables},
            output=log,
        )
        try:
            yield process, log
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        kill_group(process)
        process.wait()

"""Find a running service for the demo, or start `crm-api up` and stop it at the end."""

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
    """The demo cannot continue; the message is one line."""


@dataclass(frozen=True)
class Service:
    """URLs of the API and the sandbox, and the API's admin key."""

    api_url: str
    sandbox_url: str
    admin_key: str


def refuse_real_provider(settings: Settings) -> None:
    """Check that no message can really be sent.

    Raises:
        DemoError: There is an API key, so messages would reach people.
    """
    if not settings.uses_sandbox:
        raise DemoError(
            "the demo runs only on the sandbox, and CRM_OPENPHONE_API_KEY is set; unset it, "
            "because it must not send real messages"
        )


@contextmanager
def service(
    variables: Mapping[str, str], say: Callable[[str], None], *, url: str | None = None
) -> Iterator[Service]:
    """Yield a service that answers; one that was started here is stopped at the end.

    A running service is looked for in the data directory, then at ``CRM_PUBLIC_URL``, where another
    machine or container with the same settings has it.

    Args:
        variables: The ``CRM_*`` variables of this run.
        say: Reports progress to the user.
        url: URL of the service; None looks for it.

    Raises:
        DemoError: An API key is set, or the service does not start.
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
        say(f"using the service that runs at {here.api_url}")
        _wait_until_ready(here, lambda: not found or bool(running_settings(settings.data_dir)))
        yield _with_key(here, settings.data_dir)
        return
    say("nothing runs here yet: starting `crm-api up`; it is stopped at the end")
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
    """Add the admin key, which a first start has created only now."""
    key = found.admin_key or _kept_key(folder)
    if not key:
        raise DemoError(f"{folder / 'admin-key'} cannot be read; set CRM_BOOTSTRAP_API_KEY to it")
    return Service(found.api_url, found.sandbox_url, key)


def _answers(found: Service) -> bool:
    """Return True if a service answers and its admin key is known."""
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
            raise DemoError(_last_line(log) or f"the service at {found.api_url} has stopped")
        if time.monotonic() > deadline:
            raise DemoError(
                f"the service at {found.api_url} did not become ready in {READY_SECONDS:.0f} s"
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
    """Run `crm-api up` as a child, with its output separate from the demo's."""
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

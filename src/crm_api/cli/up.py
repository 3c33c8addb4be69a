"""`crm-api up`: run database, Redis, API, worker and sandbox on one machine."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Annotated

import typer

from crm_api.cli import EXIT_FAILED
from crm_api.cli.options import DataDir, Host, Port, variables
from crm_api.dev.embedded_servers import EmbeddedServers
from crm_api.dev.server_processes import SERVICE_LOGIN
from crm_api.dev.supervisor import Program, Supervisor
from crm_api.platform import logs
from crm_api.platform.data_dir import (
    Claim,
    announce,
    claim,
    new_secret,
    secret_file,
    withdraw,
    write_secret,
)
from crm_api.platform.ports import require_free_port
from crm_api.platform.processes import kill_group, own_account, start
from crm_api.platform.setting_fields import SANDBOX_PORT_OFFSET
from crm_api.platform.settings import Settings

READY_SECONDS = 90.0
BUILT_IN_RULES = ("us", "none")
"""The values of ``CRM_COMPLIANCE_RULES`` that are not the path of a file."""
STOP_MARGIN_SECONDS = 15.0
"""How many seconds a stop waits for the processes, in addition to the time of the longest request.
In this time, the worker can record the response of the provider."""
SANDBOX_HOST = "127.0.0.1"
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - recognised, not bound

cli = typer.Typer(add_completion=False)


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        help="Show all log lines. By default, a terminal shows only warnings and errors.",
    ),
]


@cli.command()
def up(
    port: Port = None,
    host: Host = None,
    data_dir: DataDir = None,
    verbose: Verbose = False,  # noqa: FBT002 - an option
) -> None:
    """Start database, Redis, API, worker and sandbox; migrate the schema. Ctrl-C stops them all."""
    began = time.monotonic()
    found = variables(port=port, host=host, data_dir=data_dir)
    settings = Settings.from_env(found)
    if not verbose and _is_watched(settings):
        # A log level that the user has set is not changed.
        found.setdefault("CRM_LOG_LEVEL", "warning")
        settings = Settings.from_env(found)
    if settings.rules_name not in BUILT_IN_RULES:
        from crm_api.domain.consent.legal_rules.rules import load_rules  # noqa: PLC0415 - needs 3 MB, and few users have a file

        load_rules(settings.rules_name)
    _require_place_for_keys(settings)
    logs.configure(settings.log_format, settings.log_level, process="up")
    found["CRM_DATA_DIR"] = str(settings.data_dir.absolute())
    _say(settings, f"crm-api is starting; its data is in {found['CRM_DATA_DIR']}")
    for number in _STOPS:
        signal.signal(number, signal.default_int_handler)
    try:
        with claim(settings.data_dir) as held:
            _run(settings, found, held, began)
    except KeyboardInterrupt:
        # The user pressed Ctrl-C during the start. The context managers have already stopped the
        # servers.
        sys.exit(128 + signal.SIGINT)


def _is_watched(settings: Settings) -> bool:
    """Return whether the output goes to a terminal and ``CRM_LOG_FORMAT`` is not ``json``."""
    return settings.log_format != "json" and sys.stderr.isatty()


def _say(settings: Settings, sentence: str) -> None:
    """Print a sentence about the start, but only for a person at a terminal (``_is_watched``)."""
    if _is_watched(settings):
        typer.echo(sentence)


def _require_place_for_keys(settings: Settings) -> None:
    """Refuse a real API key if there is neither a signing key nor a database that may have one.

    A signing key for webhooks can be in the settings or in the database. If the settings contain
    none and there is no database yet, the API key is refused. If a database exists, this function
    does not read it, and accepts the API key.

    Raises:
        SettingsError: The API key is refused.
    """
    has_database = settings.database_url is not None or (settings.data_dir / "postgres").exists()
    if not has_database and not settings.uses_sandbox and not settings.openphone_webhook_secrets:
        settings.refuse_without_signing_key()


def _run(settings: Settings, found: dict[str, str], held: Claim, began: float) -> None:
    runs_sandbox = settings.uses_sandbox and settings.openphone_base_url is None
    _check_ports(settings, runs_sandbox=runs_sandbox)
    admin_key = _secrets(settings, held.path)
    embedded = EmbeddedServers(
        held, postgres=settings.database_url is None, redis=settings.redis_url is None
    )
    with ExitStack() as stack:
        stack.callback(embedded.stop)
        stack.callback(withdraw, held.path)
        preparation = _start_preparation(found, held, login=embedded.has_postgres)
        stack.callback(_end_preparation, preparation)
        stack.callback(_ignore_stops)
        urls = embedded.start()
        if embedded.processes:
            _say(settings, "- database and Redis are running")
        if urls.database_url is not None:
            found["CRM_DATABASE_URL"] = urls.database_url
        if urls.redis_url is not None:
            found["CRM_REDIS_URL"] = urls.redis_url
        announced = ("CRM_DATABASE_URL", "CRM_REDIS_URL", "CRM_HOST", "CRM_PORT")
        announce(held.path, {name: found[name] for name in announced if name in found})
        found["CRM_BOOTSTRAP_API_KEY"] = admin_key
        found["CRM_WORKER_METRICS_SOCKET"] = str(embedded.worker_socket)
        resolved = Settings.from_env(found)
        banner = _banner(resolved, admin_key)
        # The processes of the service use a database login with fewer rights than the owner of the
        # tables. Other commands use the login of the owner.
        service_url = urls.service_url or resolved.require_database_url()
        environment = found | {"CRM_DATABASE_URL": service_url}
        programs = _programs(environment, held, runs_sandbox=runs_sandbox)
        _finish_preparation(preparation, {"CRM_DATABASE_URL": resolved.require_database_url()})
        _say(settings, "- the database schema is up to date")
        supervision = _supervise(
            resolved, programs, embedded, banner, began, runs_sandbox=runs_sandbox
        )
        asyncio.run(supervision)


def _start_preparation(
    found: Mapping[str, str], held: Claim, *, login: bool
) -> "subprocess.Popen[bytes]":
    """Start the process that prepares the database (``crm_api.cli.preparation``)."""
    argv = [sys.executable, "-m", "crm_api.cli.preparation", *([SERVICE_LOGIN] if login else ())]
    return start(
        argv,
        account=own_account(),
        death_signal=signal.SIGKILL,
        environment=_environment(found),
        pass_fd=held.children_fd,
        has_input=True,
    )


def _finish_preparation(preparation: "subprocess.Popen[bytes]", servers: Mapping[str, str]) -> None:
    """Send the URLs of the servers to the preparing process, and wait until this process has ended.

    If the preparing process fails, exit with its status. It has already printed the reason.
    """
    preparation.communicate(json.dumps(servers).encode())
    if preparation.returncode != 0:
        sys.exit(max(preparation.returncode, EXIT_FAILED))


def _end_preparation(preparation: "subprocess.Popen[bytes]") -> None:
    """Kill the preparing process if it still runs because the start was interrupted."""
    if preparation.poll() is None:
        kill_group(preparation)
        preparation.wait()


def _ignore_stops() -> None:
    """Ignore further stop signals during the shutdown. The shutdown has a time limit."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)


def _check_ports(settings: Settings, *, runs_sandbox: bool) -> None:
    require_free_port(
        settings.host,
        settings.port,
        takes="the API needs this port; set CRM_PORT to another port",
    )
    if not runs_sandbox:
        return
    sandbox_port = settings.port + SANDBOX_PORT_OFFSET
    takes = "the sandbox needs the port after CRM_PORT; set CRM_PORT to another port"
    require_free_port(SANDBOX_HOST, sandbox_port, takes=takes)


def _secrets(settings: Settings, folder: Path) -> str:
    """Create the secret key and the admin key if the settings lack them; return the admin key.

    An admin key from the settings is also written to the file ``admin-key``.
    """
    if settings.secret_key is None:
        secret_file(folder / "secret-key", new_secret)
    path = folder / "admin-key"
    if settings.bootstrap_api_key is None:
        return secret_file(path, lambda: f"crm_{new_secret()}")
    given = settings.bootstrap_api_key.get_secret_value()
    write_secret(path, given)
    return given


def _environment(found: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a child process.

    They are ``found``, and the variables of this process that do not begin with ``CRM_``.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
    return {**others, **found}


def _programs(found: Mapping[str, str], held: Claim, *, runs_sandbox: bool) -> list[Program]:
    environment = _environment(found)
    names = ("sandbox", "serve", "worker") if runs_sandbox else ("serve", "worker")
    return [
        Program(name, [sys.executable, "-m", "crm_api.cli", name], environment, held)
        for name in names
    ]


async def _supervise(
    settings: Settings,
    programs: list[Program],
    embedded: EmbeddedServers,
    banner: str,
    began: float,
    *,
    runs_sandbox: bool,
) -> None:
    supervisor = Supervisor(
        programs,
        servers=embedded.processes,
        stop_seconds=max(settings.call_timeout_seconds, settings.drain_seconds)
        + STOP_MARGIN_SECONDS,
    )
    loop = asyncio.get_running_loop()
    for number in _STOPS:
        loop.add_signal_handler(number, supervisor.request_stop)

    def announce_ready() -> None:
        # All lines are written at once. So a program that waits for the line "crm-api is ready"
        # also gets the lines after it, such as the link for the first owner.
        ready = f"\ncrm-api is ready after {time.monotonic() - began:.1f} s.\n{banner}"
        if _lacks_owner(settings):
            token = settings.first_owner_tokens()[0]
            ready += (
                "\n  Nobody can sign in yet. This link makes you the first owner; "
                "it works once:\n\n"
                f"    {_address(settings)}/welcome#{token}\n"
            )
        typer.echo(ready)

    await supervisor.run(
        is_ready=lambda: _is_ready(settings, runs_sandbox=runs_sandbox),
        on_ready=announce_ready,
        ready_seconds=READY_SECONDS,
    )
    typer.echo("crm-api has stopped.")


def _is_ready(settings: Settings, *, runs_sandbox: bool) -> bool:
    """Return True if the API is ready and, if ``up`` runs the sandbox, the sandbox responds too."""
    if _get(_host(settings), settings.port, "/readyz")[0] != 200:  # noqa: PLR2004 - OK
        return False
    port = settings.port + SANDBOX_PORT_OFFSET
    return not runs_sandbox or _get(SANDBOX_HOST, port, "/sandbox")[0] == 200  # noqa: PLR2004 - OK


def _lacks_owner(settings: Settings) -> bool:
    """Return whether the running API reports that it still has no user."""
    _, body = _get(_host(settings), settings.port, "/v1/auth/first-owner")
    try:
        return bool(json.loads(body).get("needed"))
    except ValueError:
        return False


def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    """Send a GET request to a server; return the status and the body of the response.

    If there is no response, the status is 0 and the body is empty.
    """
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()


def _host(settings: Settings) -> str:
    """Return the host with which this machine reaches the API."""
    return _EVERYWHERE.get(settings.host, settings.host)


def _address(settings: Settings) -> str:
    host = _host(settings)
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.port}"


def _banner(settings: Settings, admin_key: str) -> str:
    api = _address(settings)
    provider, step = settings.provider_url, "call POST /v1/lines/sync to read your phone numbers"
    if settings.uses_sandbox:
        provider, step = (
            f"{provider}  (sandbox: no real messages are sent)",
            "run `make demo` for a campaign and what it earns",
        )
    else:
        provider = f"{provider}  (real messages ARE sent)"
    lines = [("Console", f"{api}/"), ("API", api), ("Docs", f"{api}/docs")]
    lines.append(("OpenPhone", provider))
    if settings.rules_name == "none":
        lines.append(("Rules", "none: legal quiet hours are NOT applied (only for the sandbox)"))
    lines += [
        ("Data", str(settings.data_dir)),
        ("Admin key", f"{admin_key}  (stored in {settings.data_dir / 'admin-key'})"),
        ("Next", f"{step} in another terminal; Ctrl-C in this terminal stops everything"),
    ]
    return "\n".join(f"  {name:<10} {value}" for name, value in lines) + "\n"

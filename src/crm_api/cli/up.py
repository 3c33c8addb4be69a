"""`crm-api up`: everything in one supervised run."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import typer

from crm_api import logs
from crm_api.cli.options import DataDir, Host, Port, variables
from crm_api.data_dir import (
    Claim,
    announce,
    claim,
    new_secret,
    secret_file,
    withdraw,
    write_secret,
)
from crm_api.domain.compliance.loader import load_rules
from crm_api.embedded import EmbeddedServers
from crm_api.servers import SERVICE_LOGIN
from crm_api.setting_fields import SANDBOX_PORT_OFFSET
from crm_api.settings import Settings
from crm_api.supervisor import Program, Supervisor, require_free_port

READY_SECONDS = 90.0
STOP_MARGIN_SECONDS = 15.0
"""Beyond the longest call to the provider, whose end the worker waits for and records."""
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - recognised, not bound

cli = typer.Typer(add_completion=False)


@cli.command()
def up(port: Port = None, host: Host = None, data_dir: DataDir = None) -> None:
    """Start everything: database, Redis, migrations, API, worker and sandbox. Ctrl-C stops it."""
    began = time.monotonic()
    found = variables(port=port, host=host, data_dir=data_dir)
    settings = Settings.from_env(found)
    load_rules(settings.rules_name)
    _require_place_for_keys(settings)
    logs.configure(settings.log_format, settings.log_level, process="up")
    found["CRM_DATA_DIR"] = str(settings.data_dir.absolute())
    for number in _STOPS:
        signal.signal(number, signal.default_int_handler)
    try:
        with claim(settings.data_dir) as held:
            _run(settings, found, held, began)
    except KeyboardInterrupt:
        # Stopped before all was up; the blocks that were left have stopped what ran.
        sys.exit(128 + signal.SIGINT)


def _require_place_for_keys(settings: Settings) -> None:
    """Refuse at once where no signing key is given and no database can hold one."""
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
    try:
        urls = embedded.start()
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
        # Whoever runs commands here owns the database; what serves and works does not.
        service_url = urls.service_url or resolved.require_database_url()
        environment = found | {"CRM_DATABASE_URL": service_url}
        programs = _programs(environment, held, runs_sandbox=runs_sandbox)
        asyncio.run(_supervise(resolved, programs, embedded, banner, began))
    finally:
        # Bounded, so it need not be interrupted; the kernel covers a kill.
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)
        withdraw(held.path)
        embedded.stop()


def _check_ports(settings: Settings, *, runs_sandbox: bool) -> None:
    require_free_port(
        settings.host, settings.port, takes="the API listens there; give another CRM_PORT"
    )
    if not runs_sandbox:
        return
    sandbox_port = settings.port + SANDBOX_PORT_OFFSET
    takes = "the sandbox takes the port after the API's; give another CRM_PORT"
    require_free_port("127.0.0.1", sandbox_port, takes=takes)


def _secrets(settings: Settings, folder: Path) -> str:
    """Make what the environment does not give; return the admin key."""
    if settings.secret_key is None:
        secret_file(folder / "secret-key", new_secret)
    path = folder / "admin-key"
    if settings.bootstrap_api_key is None:
        return secret_file(path, lambda: f"crm_{new_secret()}")
    given = settings.bootstrap_api_key.get_secret_value()
    write_secret(path, given)
    return given


def _programs(found: Mapping[str, str], held: Claim, *, runs_sandbox: bool) -> list[Program]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
    environment = {**others, **found}
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
) -> None:
    # Loading these takes longer than starting Redis.
    from crm_api import migrate  # noqa: PLC0415 - as above
    from crm_api.moved_time import refuse_moved_time  # noqa: PLC0415 - as above
    from crm_api.postgres import require_direct  # noqa: PLC0415 - as above
    from crm_api.root_secret import with_secret  # noqa: PLC0415 - as above
    from crm_api.signing import require_signing_key  # noqa: PLC0415 - as above

    supervisor = Supervisor(
        programs,
        servers=embedded.processes,
        stop_seconds=max(settings.call_timeout_seconds, settings.drain_seconds)
        + STOP_MARGIN_SECONDS,
    )
    owner_url = await require_direct(settings)
    await migrate.upgrade(owner_url)
    if embedded.has_postgres:
        await migrate.make_roles(owner_url, login=SERVICE_LOGIN)
    settings = await with_secret(settings)
    await require_signing_key(settings)
    await refuse_moved_time(settings)
    loop = asyncio.get_running_loop()
    for number in _STOPS:
        loop.add_signal_handler(number, supervisor.request_stop)

    def announce_ready() -> None:
        typer.echo(f"\ncrm-api is ready after {time.monotonic() - began:.1f} s.\n{banner}")

    await supervisor.run(
        is_ready=lambda: _is_ready(settings), on_ready=announce_ready, ready_seconds=READY_SECONDS
    )
    typer.echo("crm-api has stopped.")


def _is_ready(settings: Settings) -> bool:
    host = _EVERYWHERE.get(settings.host, settings.host)
    connection = HTTPConnection(host, settings.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200  # noqa: PLR2004 - OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _banner(settings: Settings, admin_key: str) -> str:
    host = _EVERYWHERE.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    api = f"http://{host}:{settings.port}"
    provider, step = settings.provider_url, "POST /v1/lines/sync reads your numbers"
    if settings.uses_sandbox:
        provider, step = f"{provider}  (sandbox: nothing is really sent)", "`make demo`"
    else:
        provider = f"{provider}  (texts are REALLY sent)"
    lines = [("API", api), ("Docs", f"{api}/docs"), ("OpenPhone", provider)]
    if settings.rules_name == "none":
        lines.append(("Rules", "none: NO legal quiet hours are kept; only for the sandbox"))
    lines += [
        ("Data", str(settings.data_dir)),
        ("Admin key", f"{admin_key}  (kept in {settings.data_dir / 'admin-key'})"),
        ("Next", f"{step}, in another terminal; Ctrl-C here stops everything"),
    ]
    return "\n".join(f"  {name:<10} {value}" for name, value in lines) + "\n"

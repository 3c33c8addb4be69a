"""Tests of `crm-api up` with real processes, real signals and free ports."""

import json
import os
import pty
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.collector import ReceivedSpan, collecting
from tests.free_ports import free_port

from crm_api.dev.embedded_servers import servers
from crm_api.platform.processes import Account, child_command, choose_account, own_account

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
COMMAND_SECONDS = 180.0
"""Time limit of a command: longer than a demo takes on a busy machine."""


@dataclass
class Run:
    """One run of `crm-api up`, its files and its output."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def admin_key(self) -> str:
        return (self.folder / "admin-key").read_text().strip()

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def command_lines(self) -> list[tuple[psutil.Process, list[str]]]:
        """Return the descendants of the run with their command lines.

        A process that has just ended is left out.
        """
        found = []
        for process in self.descendants():
            with suppress(psutil.NoSuchProcess):
                found.append((process, process.cmdline()))
        return found

    def processes_of(self, command: str) -> list[psutil.Process]:
        """Return the processes that run a command of `crm-api`, such as `worker`."""
        return [process for process, line in self.command_lines() if line[-1:] == [command]]

    def call(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.admin_key}"}
        return httpx.request(method, self.url + path, headers=headers, json=body, timeout=20)


def environment(values: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
    return {**kept, **(values or {})}


def command(*arguments: str, **values: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, in a folder without a `.env` file."""
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "crm_api.cli", *arguments],
        env=environment(values),
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


@contextmanager
def up(
    folder: Path,
    port: int,
    *,
    account: Account | None = None,
    output: int | None = None,
    log: Path | None = None,
    **values: str,
) -> Iterator[Run]:
    """Start `up` in its own process group and wait until it is ready.

    Args:
        folder: The data directory.
        port: The port of the API.
        account: The account that runs `up`; None means the account of the tests.
        output: File descriptor for the output; None means the log file.
        log: The log file; None creates one.
        values: Additional environment variables.
    """
    arguments = ["up", "--port", str(port), "--data-dir", str(folder)]
    argv = child_command(
        [sys.executable, "-m", "crm_api.cli", *arguments],
        account=account or own_account(),
        death_signal=signal.SIGKILL,
    )
    log = log or folder.parent / f"up-{time.monotonic_ns()}.log"
    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 - our own command
            argv,
            env=environment(values),
            cwd=folder.parent,
            stdin=subprocess.DEVNULL,
            stdout=file if output is None else output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    run = Run(folder, port, process, log)
    try:
        wait_until(lambda: "is ready" in run.output or process.poll() is not None, READY_SECONDS)
        assert process.poll() is None, run.output
        yield run
    finally:
        # The embedded servers end after `up`. The caller may remove the folder only after they have
        # ended.
        descendants = run.descendants() if process.poll() is None else []
        process.kill()
        process.wait()
        psutil.wait_procs(descendants, timeout=STOP_SECONDS)


@contextmanager
def terminal(log: Path) -> Iterator[int]:
    """Yield a terminal whose output is written to a file."""
    master, slave = pty.openpty()

    def copy() -> None:
        with suppress(OSError), log.open("ab", buffering=0) as file:
            while read := os.read(master, 4096):
                file.write(read)

    copying = threading.Thread(target=copy)
    copying.start()
    try:
        yield slave
    finally:
        os.close(slave)
        copying.join()
        os.close(master)


def is_success(url: str) -> bool:
    """Return whether a server answers with a success status."""
    with suppress(httpx.TransportError):
        return httpx.get(url).is_success
    return False


def wait_until(is_true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "the condition was not true in time"
        time.sleep(0.02)


def stop(run: Run, send: Callable[[], None]) -> None:
    """Stop a run; check that it exits with status 0 in time and leaves no process."""
    descendants = run.descendants()
    send()
    assert run.process.wait(STOP_SECONDS) == 0, run.output
    assert [process for process in descendants if process.is_running()] == []


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="crm-test-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def running(root: Path) -> Iterator[Run]:
    """Yield one run for all tests that do not stop it. In the end, SIGTERM stops the run."""
    with up(root / "data", free_port()) as run:
        yield run
        stop(run, run.process.terminate)


def test_output_has_all_addresses_and_the_next_step(running: Run) -> None:
    output = running.output

    for text in (running.url, f"{running.url}/docs", running.admin_key, "make demo"):
        assert text in output
    assert str(running.folder / "admin-key") in output
    assert "no real messages are sent" in output
    assert f"http://127.0.0.1:{running.port + 1}" in output
    assert output.count("is ready") == 1


def test_output_to_a_file_has_every_log_line(running: Run) -> None:
    lines = [json.loads(line) for line in running.output.splitlines() if line.startswith("{")]

    loggers = {line["logger"] for line in lines}
    assert {"alembic.runtime.migration", "crm_api.cli.serve", "crm_api.cli.sandbox"} <= loggers
    assert "is starting" not in running.output


def test_output_to_a_terminal_is_a_few_sentences(root: Path) -> None:
    log = root / "terminal.log"
    with (
        terminal(log) as output,
        up(root / "terminal", free_port(), output=output, log=log) as run,
    ):
        before, ready, after = run.output.partition("crm-api is ready")
        stop(run, run.process.terminate)

    assert "crm-api is starting; its data is in" in before
    assert "Running upgrade" not in before
    assert "[info" not in before
    assert len(before.splitlines()) <= 6, before
    assert ready
    assert "Admin key" in after


def test_service_is_not_ready_before_the_sandbox_answers(root: Path) -> None:
    folder, port, log = root / "late-sandbox", free_port(), root / "late-sandbox.log"
    refused = f"port {port + 1} on 127.0.0.1 cannot be used"
    outputs: list[str] = []

    def occupy_port_of_sandbox() -> None:
        # `up` checks the ports before it starts the database.
        wait_until((folder / "postgres" / "postmaster.pid").exists, READY_SECONDS)
        with socket.socket() as occupied:
            occupied.bind(("127.0.0.1", port + 1))
            wait_until(lambda: is_success(f"http://127.0.0.1:{port}/readyz"), READY_SECONDS)
            before = log.read_text().count(refused)
            wait_until(
                lambda: "is ready" in log.read_text() or log.read_text().count(refused) > before,
                READY_SECONDS,
            )
            outputs.append(log.read_text())

    occupying = threading.Thread(target=occupy_port_of_sandbox)
    occupying.start()
    with up(folder, port, log=log) as run:
        occupying.join()
        assert is_success(f"http://127.0.0.1:{port + 1}/sandbox")
        stop(run, run.process.terminate)

    (while_occupied,) = outputs
    assert refused in while_occupied
    assert "is ready" not in while_occupied


def test_admin_key_is_accepted_and_its_file_is_private(running: Run) -> None:
    answer = running.call("GET", "/v1/contacts")

    assert answer.status_code == 200, answer.text
    for name in ("admin-key", "secret-key"):
        assert stat.S_IMODE((running.folder / name).stat().st_mode) == 0o600


def test_command_lines_have_the_command_and_no_key(running: Run) -> None:
    lines = [" ".join(line) for _, line in running.command_lines()]

    for name in ("serve", "worker", "sandbox"):
        assert sum(line.endswith(f"crm_api.cli {name}") for line in lines) == 1
    assert not any(running.admin_key in line for line in lines)


def test_service_processes_use_a_database_role_that_owns_nothing(running: Run) -> None:
    titles = [" ".join(line) for _, line in running.command_lines()]
    logins = {title.split()[1] for title in titles if title.startswith("postgres: crm_service")}

    assert logins == {"crm_service"}
    assert not [title for title in titles if title.startswith("postgres: postgres ")]


def test_api_exports_the_workers_metrics(running: Run) -> None:
    def value_of(sample: str, **labels: str) -> float | None:
        families = text_string_to_metric_families(httpx.get(f"{running.url}/metrics").text)
        samples = [
            one for descendants in families for one in descendants.samples if one.name == sample
        ]
        return next((one.value for one in samples if one.labels == labels), None)

    worker = {"process": "worker"}
    runs = {"name": "process_webhook_backlog", "result": "ok", **worker}
    wait_until(lambda: (value_of("crm_job_run_seconds_count", **runs) or 0) >= 1, 20)

    assert value_of("process_resident_memory_bytes", **worker) != value_of(
        "process_resident_memory_bytes", process="serve"
    )
    assert value_of("crm_database_pool_size", **worker) == 10
    assert value_of("crm_job_run_seconds_count", **runs | {"process": "serve"}) is None


def test_second_run_in_the_same_folder_is_refused_in_one_line(running: Run) -> None:
    done = command("up", "--port", str(free_port()), "--data-dir", str(running.folder))

    assert done.returncode == 1
    assert done.stderr == (
        f"crm-api: crm-api is already running in {running.folder} (process "
        f"{running.process.pid}); stop it, or set CRM_DATA_DIR to another directory\n"
    )


@pytest.mark.parametrize("offset", [0, -1])
def test_port_in_use_is_reported_in_one_line(running: Run, root: Path, offset: int) -> None:
    # With -1, the port of the new run's sandbox is in use.
    port = running.port + offset

    done = command("up", "--port", str(port), "--data-dir", str(root / "other"))

    assert done.returncode == 1
    assert re.fullmatch(
        r"crm-api: port \d+ on 127\.0\.0\.1 .*CRM_PORT to another port\n", done.stderr
    )
    assert str(running.port) in done.stderr


def test_killed_process_is_started_again(running: Run) -> None:
    (first,) = running.processes_of("worker")
    first.kill()
    first.wait(10)

    wait_until(lambda: bool(running.processes_of("worker")), 10)
    assert running.output.count("process ended; restart planned") == 1


def test_killed_database_is_started_again(running: Run) -> None:
    first = [one for one in running.descendants() if one.name() == "postgres"]
    postmaster = min(first, key=lambda one: len(one.parents()))
    postmaster.kill()
    postmaster.wait(10)

    def answers() -> bool:
        return running.call("GET", "/v1/contacts").status_code == 200

    wait_until(answers, 20)
    assert not postmaster.is_running()


def test_key_created_during_a_run_is_accepted(running: Run) -> None:
    done = command(
        "keys",
        "create",
        "--name=reader",
        "--scopes=contacts:read",
        CRM_DATA_DIR=str(running.folder),
    )

    assert done.returncode == 0, done.stderr
    headers = {"Authorization": f"Bearer {done.stdout.strip()}"}
    assert httpx.get(f"{running.url}/v1/contacts", headers=headers).status_code == 200


def test_unknown_scope_is_refused_in_one_line(running: Run) -> None:
    done = command(
        "keys", "create", "--name=x", "--scopes=everything", CRM_DATA_DIR=str(running.folder)
    )

    assert done.returncode == 1
    assert done.stderr.startswith("crm-api: ")
    assert done.stderr.count("\n") == 1


def test_doctor_reports_a_running_service_as_healthy(running: Run) -> None:
    done = command("doctor", "--data-dir", str(running.folder))

    assert done.returncode == 0, done.stdout
    for part in ("settings", "database", "migrations", "roles", "redis", "provider", "webhooks"):
        assert part in done.stdout
    assert "broken" not in done.stdout


def test_migrating_again_changes_nothing(running: Run) -> None:
    done = command("migrate", CRM_DATA_DIR=str(running.folder))

    assert done.returncode == 0, done.stderr
    assert "nothing was changed" in done.stdout


def test_killed_supervisor_loses_no_data_and_ctrl_c_stops_all_processes(root: Path) -> None:
    # An ordinary user runs `up`. If root runs the test, ``choose_account`` chooses the account of
    # this user.
    account = choose_account(Path(sys.executable), root.parent)
    home = root / "user"
    home.mkdir(mode=0o755)
    os.chown(home, *account.file_owner)
    port = free_port()
    with up(home / "data", port, account=account) as run:
        made = run.call("POST", "/v1/contacts", {"phone": "617-555-0142"})
        descendants = run.descendants()
        run.process.kill()
        run.process.wait()
    psutil.wait_procs(descendants, timeout=STOP_SECONDS)

    with up(home / "data", port, account=account) as again:
        kept = again.call("GET", f"/v1/contacts/{made.json()['id']}")
        # Send the signal to the whole process group, as a terminal does for Ctrl-C.
        stop(again, lambda: os.killpg(again.process.pid, signal.SIGINT))

    assert not any(process.is_running() for process in descendants)
    assert kept.status_code == 200
    assert kept.json()["phone"] == "+16175550142"
    assert (home / "data" / "postgres").stat().st_uid == account.file_owner[0]


GIVEN_KEY = "an admin key that was chosen by the operator"
CALLERS_STEP = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PERSON = {"phone": "+16175550142", "email": "ada.fields@example.com", "last_name": "Fieldstone"}
TEXT = "The crew comes on Tuesday at nine."


@dataclass(frozen=True, kw_only=True)
class EndedRun:
    """A run that has ended: its processes, the sent message, the log and the exported traces."""

    run: Run
    names: set[str]
    sent: dict[str, str]
    spans: list[ReceivedSpan]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run.output.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def ended_run(root: Path) -> Iterator[EndedRun]:
    """Yield a run with configured servers and a trace collector. It sent one message and ended."""
    with (
        servers(root / "servers", fsync=False) as urls,
        collecting() as collector,
        up(
            root / "external",
            free_port(),
            CRM_DATABASE_URL=urls.database_url or "",
            CRM_REDIS_URL=urls.redis_url or "",
            CRM_BOOTSTRAP_API_KEY=GIVEN_KEY,
            CRM_OTLP_ENDPOINT=collector.url,
            CRM_LOG_LEVEL="debug",
            # With these two variables, telemetry of FastAPI itself would also arrive at the
            # collector.
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            FASTAPI_OTEL_AUTO_CONFIGURE="true",
        ) as run,
    ):
        names = {process.name() for process in run.descendants()}
        sent = send_one_message(run)
        stop(run, lambda: run.process.send_signal(signal.SIGINT))
        yield EndedRun(run=run, names=names, sent=sent, spans=collector.spans)


def send_one_message(run: Run) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {run.admin_key}", "X-Request-ID": "one-text"}
    with httpx.Client(base_url=run.url, headers=headers, timeout=20) as client:
        client.post("/v1/contacts", json=PERSON).raise_for_status()
        client.get(f"/v1/contacts/by-phone/{PERSON['phone']}").raise_for_status()
        client.get("/v1/contacts", params={"q": PERSON["email"]}).raise_for_status()
        client.get("/healthz", headers={"X-Request-ID": "617-555-0142"}).raise_for_status()
        line = client.post("/v1/lines/sync").json()["data"][0]["id"]
        text = {"line_id": line, "to": PERSON["phone"], "body": TEXT}
        wait_until(lambda: no_scheduled_run_is_near(client), 60)
        made = client.post("/v1/messages", json=text, headers={"traceparent": CALLERS_STEP})
        made.raise_for_status()
        path = f"/v1/messages/{made.json()['id']}"
        wait_until(lambda: client.get(path).json()["status"] == "delivered", 20)
        sent: dict[str, str] = client.get(path).json()
    return sent


def no_scheduled_run_is_near(client: httpx.Client) -> bool:
    """Return True if no scheduled run of the job that sends messages will begin soon.

    Then only the run that a request asks for can send the message of the request.
    """
    jobs = client.get("/v1/scheduled-jobs").json()["data"]
    (job,) = [one for one in jobs if one["name"] == "send_messages"]
    if job["last_finished_at"] is None or job["last_finished_at"] < job["last_started_at"]:
        return False
    next_run = datetime.fromisoformat(job["next_run_at"])
    # At the start of a minute, the scheduled run of the job for this minute may not have begun yet.
    last_run = datetime.fromisoformat(job["last_started_at"])
    is_begun = next_run - last_run <= timedelta(minutes=1)
    return is_begun and next_run - datetime.now(UTC) > timedelta(seconds=20)


def test_configured_servers_replace_the_embedded_ones(ended_run: EndedRun) -> None:
    assert ended_run.run.admin_key == GIVEN_KEY
    assert ended_run.sent["status"] == "delivered"
    assert not ended_run.names & {"postgres", "valkey-server"}
    assert not (ended_run.run.folder / "postgres").exists()


def test_message_is_one_trace_from_the_request_to_the_provider(ended_run: EndedRun) -> None:
    _, trace, callers_step, _ = CALLERS_STEP.split("-")
    spans = [one for one in ended_run.spans if one.trace == trace]

    parent = callers_step
    for process, kind, name in (
        ("serve", "server", "POST /v1/messages"),
        ("serve", "producer", "nudge send_messages"),
        ("worker", "consumer", "run send_messages"),
        ("worker", "client", "POST /v1/messages"),
        ("sandbox", "server", "POST /v1/messages"),
    ):
        found = [one for one in spans if (one.process, one.kind, one.name) == (process, kind, name)]
        assert [one.parent for one in found] == [parent], (process, name)
        parent = found[0].id
    asked = {one.process for one in spans if one.attributes.get("db.system.name") == "postgresql"}
    assert asked == {"serve", "worker"}
    assert not [one for one in spans if one.is_failed]


def test_health_check_creates_no_trace(ended_run: EndedRun) -> None:
    polls = [line for line in ended_run.lines if line.get("route") == "/healthz"]

    assert polls
    assert not [line for line in polls if "trace_id" in line]


def test_log_lines_of_all_processes_have_the_ids_of_the_request(ended_run: EndedRun) -> None:
    _, trace, _, _ = CALLERS_STEP.split("-")
    lines = [line for line in ended_run.lines if line.get("trace_id") == trace]

    by_event = {(line["process"], line["event"]): line for line in lines}
    assert {line["request_id"] for line in lines} == {"one-text"}
    assert by_event["serve", "request finished"]["route"] == "/v1/messages"
    assert by_event["worker", "job finished"]["job"] == "send_messages"
    call = by_event["worker", "provider request completed"]
    assert (call["path"], call["status"]) == ("/v1/messages", 202)
    assert call["run_id"] == by_event["worker", "job finished"]["run_id"]
    assert call["attempt"]


def test_neither_log_lines_nor_traces_contain_a_person_a_message_or_a_key(
    ended_run: EndedRun,
) -> None:
    # `up` prints the key once, for the user who started it.
    given = ended_run.run.output.replace(GIVEN_KEY, "", 1)

    for emitted in (given, str(ended_run.spans)):
        for secret in (GIVEN_KEY, PERSON["phone"], "6175550142", "617-555-0142", "ada.fields"):
            assert secret not in emitted
        for content in (TEXT, "Tuesday", PERSON["last_name"]):
            assert content not in emitted
    assert "+***42" in given


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"CRM_PORT": "eighty"}, "CRM_PORT: "),
        ({"CRM_PROT": "8000"}, "CRM_PROT is not a setting"),
        ({"CRM_OPENPHONE_API_KEY": "a real key"}, "CRM_OPENPHONE_WEBHOOK_SECRETS is needed"),
    ],
)
def test_wrong_setting_is_reported_in_one_line_with_its_name(
    values: dict[str, str], line: str
) -> None:
    done = command("up", **values)

    assert done.returncode == 2
    assert done.stderr.startswith(f"crm-api: {line}")
    assert done.stderr.count("\n") == 1


def test_unreachable_server_is_reported_in_one_line(root: Path) -> None:
    url = f"postgresql://crm@127.0.0.1:{free_port()}/crm"

    done = command("migrate", CRM_DATABASE_URL=url, CRM_DATA_DIR=str(root / "none"))

    assert done.returncode == 1
    assert done.stderr.startswith("crm-api: ")
    assert done.stderr.count("\n") == 1


def test_doctor_names_what_to_fix(root: Path) -> None:
    done = command("doctor", CRM_DATA_DIR=str(root / "none"), CRM_PORT=str(free_port()))

    assert done.returncode == 1
    for text in ("CRM_DATABASE_URL", "CRM_REDIS_URL", "CRM_SECRET_KEY", "crm-api sandbox"):
        assert text in " ".join(done.stdout.split())


def test_openapi_document_needs_no_server() -> None:
    done = command("openapi")

    assert done.returncode == 0, done.stderr
    assert httpx.Response(200, text=done.stdout).json()["info"]["title"] == "crm-api"

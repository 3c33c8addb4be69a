"""A real `crm-api serve` with a large database, and the measurement of its requests."""

import time
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import psutil
from tests.free_ports import free_port

from benchmarks.questions import Question
from benchmarks.stage import Stage, postgres_cpu
from benchmarks.web import ADMIN_KEY, cpu_seconds, listening


@dataclass(frozen=True, kw_only=True)
class Server:
    """A web process, a client of it, and its database."""

    web: psutil.Process
    client: httpx.Client
    database_url: str

    def time(self, question: Question, calls: int) -> tuple[list[float], float, float]:
        """Send a request repeatedly; the first response is not included in the measurements.

        Returns:
            The milliseconds of each response, and the CPU milliseconds of a request in the web
            process and in PostgreSQL.
        """
        taken: list[float] = []
        count = max(3, round(calls * question.share))
        cpu = database = 0.0
        for call in range(count + 1):
            if call == 1:
                cpu, database = cpu_seconds(self.web), postgres_cpu(self.database_url)
            begun = time.perf_counter()
            answer = question.ask(self.client, call)
            taken.append((time.perf_counter() - begun) * 1000)
            if answer.is_error:
                raise SystemExit(f"{answer.url} answered {answer.status_code}: {answer.text}")
        cpu, database = cpu_seconds(self.web) - cpu, postgres_cpu(self.database_url) - database
        return taken[1:], cpu / count * 1000, database / count * 1000


def environment_of_web(on: Stage, database_url: str, port: int) -> dict[str, str]:
    """Return the environment variables of a web process or worker with this database."""
    return on.environment() | {
        "CRM_DATABASE_URL": database_url,
        "CRM_PORT": str(port),
        "CRM_RATE_LIMIT_PER_SECOND": "100000",
        "CRM_OPENPHONE_RATE_PER_SECOND": "8",
        "CRM_COMPLIANCE_RULES": "us",
    }


def serve(stack: ExitStack, on: Stage, database_url: str) -> Server:
    """Run `crm-api serve` until the stack is closed."""
    port = free_port()
    environment = environment_of_web(on, database_url, port)
    web = stack.enter_context(listening(["-m", "crm_api.cli", "serve"], environment, port=port))
    return Server(web=web, client=client_of(stack, port), database_url=database_url)


def client_of(stack: ExitStack, port: int) -> httpx.Client:
    """Return a client with the admin key."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120)
    return stack.enter_context(client)

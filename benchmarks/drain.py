"""The drain: a campaign through claim, gate, call and record, against the bare client.

Floor: the same client posting the same bodies to the same sandbox with the same concurrency, no
database. Subject: a worker's drain with the limiter lifted. Both run as processes of their own,
alternately; CPU is user and system time of that process, PostgreSQL's apart.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psutil
import uvicorn
import uvloop
from sqlalchemy import text

from benchmarks import population
from crm_api import collector
from crm_api.db import UnitOfWork, create_engine, session_factory
from crm_api.domain.compliance.rules import NO_RULES
from crm_api.domain.openphone.sending import GateClock
from crm_api.domain.sends.dispatch import CONCURRENCY
from crm_api.domain.sends.limiter import Limiter
from crm_api.domain.sends.times import SendTimes
from crm_api.embedded import servers
from crm_api.jobs import Job
from crm_api.migrate import upgrade
from crm_api.provider import open_provider
from crm_api.sandbox.app import create_sandbox
from crm_api.sandbox.config import SandboxConfig
from crm_api.sandbox.running import server_config
from crm_api.settings import Settings
from crm_api.workers.campaigns import drain, prepare
from crm_api.workers.deps import Deps

LIFTED = 1_000_000.0
ROUNDS = 3
SMALL, LARGE, FINISHED = 5_000, 50_000, 300_000
PORT = 18_771


class Silence:
    """A queue for a worker that is alone."""

    async def push(self, job: Job) -> None:
        """Forget the nudge."""

    async def ping(self) -> bool:
        """Be there."""
        return True


def _settings() -> Settings:
    return Settings.from_env(os.environ)


async def _run_floor(count: int) -> dict[str, float]:
    settings = _settings()
    provider = open_provider(settings)
    timeout = settings.call_timeout_seconds
    positions = iter(range(count))

    async def caller() -> None:
        for position in positions:
            answer = await provider.send_message(
                sender=population.PHONE_NUMBER_ID,
                to=population.phone(position),
                text=population.body(position),
                gate=GateClock.start(),
                call_timeout=timeout,
            )
            if answer.kind != "accepted":
                raise RuntimeError(f"The sandbox answered {answer}.")

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    wall, spent = time.perf_counter() - begun, time.process_time() - cpu
    await provider.aclose()
    return {"wall": wall, "cpu": spent}


async def _run_drain(count: int) -> dict[str, float]:
    settings = _settings()
    async with AsyncExitStack() as stack:
        engine = create_engine(settings.require_database_url(), application="bench worker")
        stack.push_async_callback(engine.dispose)
        provider = open_provider(settings)
        stack.push_async_callback(provider.aclose)
        sessions = session_factory(engine)
        queue = Silence()
        deps = Deps(
            settings=settings,
            new_uow=lambda: UnitOfWork(sessions, queue),
            queue=queue,
            provider=provider,
            limiter=Limiter(rate_per_second=settings.openphone_rate_per_second),
            times=SendTimes.from_settings(settings),
            rules=NO_RULES,
            secret=settings.require_secret_key(),
        )
        await prepare(deps)
        begun, cpu = time.perf_counter(), time.process_time()
        while not await drain(deps):
            pass
        wall, spent = time.perf_counter() - begun, time.process_time() - cpu
        async with engine.connect() as connection:
            sent = await connection.scalar(
                text(
                    "SELECT count(*) FROM campaign_membership m JOIN campaign c "
                    "ON c.id = m.campaign_id WHERE c.status = 'running' AND m.status = 'sent'"
                )
            )
        if sent != count:
            raise RuntimeError(f"{sent} of {count} were sent.")
    return {"wall": wall, "cpu": spent}


def _child(mode: str, count: int) -> None:
    collector.tune()
    work = _run_floor(count) if mode == "floor" else _run_drain(count)
    figures = uvloop.run(work)
    figures["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(figures))


def _serve_sandbox() -> None:
    config = SandboxConfig(people="silent", rate_per_second=None)
    uvicorn.Server(server_config(create_sandbox(config), port=PORT)).run()


def _spawn(mode: str, count: int, env: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.drain", mode, str(count)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-3000:])
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _postgres_cpu() -> float:
    """Sum CPU of every PostgreSQL process, also of those that ended (their parent has it)."""
    total = 0.0
    for process in psutil.process_iter(["name"]):
        try:
            if process.name() == "postgres":
                times = process.cpu_times()
                total += times.user + times.system
                if process.ppid() == os.getpid():
                    total += times.children_user + times.children_system
        except psutil.Error:
            continue
    return total


def _measure(mode: str, count: int, env: dict[str, str]) -> dict[str, float]:
    before = _postgres_cpu()
    figures = _spawn(mode, count, env)
    figures["postgres_cpu"] = _postgres_cpu() - before
    figures["per_second"] = count / figures["wall"]
    return figures


def _show(label: str, count: int, runs: list[dict[str, float]]) -> dict[str, float]:
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    print(
        f"{label:<34} {middle['per_second']:8.0f}/s  cpu {middle['cpu'] / count * 1e4:6.2f} ms/10"
        f"  postgres {middle['postgres_cpu'] / count * 1e4:6.2f} ms/10"
        f"  rss {middle['rss_mb']:5.0f} MB",
        flush=True,
    )
    return middle


def _environment(database_url: str, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "CRM_DATABASE_URL": database_url,
        "CRM_REDIS_URL": "redis://127.0.0.1:1/0",
        "CRM_OPENPHONE_BASE_URL": f"http://127.0.0.1:{PORT}",
        "CRM_OPENPHONE_RATE_PER_SECOND": str(LIFTED),
        "CRM_SECRET_KEY": "a benchmark's key of 32 characters or more",
        "CRM_DATA_DIR": str(folder),
    }


def main() -> None:
    """Measure, and print the figures."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with servers(folder, redis=False) as urls:
            database_url = str(urls.database_url)
            asyncio.run(upgrade(database_url))
            env = _environment(database_url, folder)
            command = [sys.executable, "-m", "benchmarks.drain", "sandbox", "0"]
            sandbox = subprocess.Popen(command, env=env)  # noqa: S603 - our own
            try:
                _wait_for(f"http://127.0.0.1:{PORT}/sandbox/stats")
                _compare(database_url, env)
            finally:
                sandbox.terminate()
                sandbox.wait()


def _compare(database_url: str, env: dict[str, str]) -> None:
    floors, smalls = [], []
    for _ in range(ROUNDS):
        floors.append(_measure("floor", SMALL, env))
        asyncio.run(population.start_campaign(database_url, SMALL))
        smalls.append(_measure("drain", SMALL, env))
        asyncio.run(population.clear(database_url))
    floor = _show("floor: client alone", SMALL, floors)
    small = _show(f"drain: {SMALL} in empty tables", SMALL, smalls)
    asyncio.run(population.finish_campaign(database_url, FINISHED))
    asyncio.run(population.start_campaign(database_url, LARGE))
    large_run = _measure("drain", LARGE, env)
    large = _show(f"drain: {LARGE} beside {FINISHED}", LARGE, [large_run])
    beyond = (small["cpu"] - floor["cpu"]) / SMALL * 1e4
    print(f"drain / floor                      {small['per_second'] / floor['per_second']:.2f}")
    print(f"cpu beyond the floor               {beyond:.2f} ms per 10 messages")
    print(f"rss {LARGE} / {SMALL}                  {large['rss_mb'] / small['rss_mb']:.2f}")
    for key, label in (("wall", "time"), ("cpu", "worker cpu"), ("postgres_cpu", "postgres cpu")):
        ratio = (large[key] / LARGE) / (small[key] / SMALL)
        print(f"{label + ' a message, large / small':<34} {ratio:.2f}")


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise RuntimeError("The sandbox did not start.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", nargs="?", default="all")
    parser.add_argument("count", nargs="?", type=int, default=SMALL)
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    if given.mode == "all":
        main()
    elif given.mode == "sandbox":
        _serve_sandbox()
    else:
        _child(given.mode, given.count)

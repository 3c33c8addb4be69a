"""`make fuzz`: send generated requests to every operation of the API for a given time."""

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

import structlog
from tests.contract.running import run_application
from tests.contract.trying import Effort, Report, try_all
from tests.contract.world import Pools, insert_rows

from crm_api.dev.embedded_servers import servers
from crm_api.platform.database import create_engine, session_factory
from crm_api.platform.migration_runner import upgrade

REPORT_SECONDS = 30
EXAMPLES = 100
"""Number of generated requests per operation and round. Rounds repeat until the time is over."""


def main() -> int:
    """Send requests for the given time; return 1 if there are findings, otherwise 0."""
    reader = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    reader.add_argument("--minutes", type=float, default=20)
    reader.add_argument(
        "--seed", type=int, help="repeat the requests of the run with this seed; random by default"
    )
    reader.add_argument("--only", help="a pattern of the paths to test")
    asked = reader.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(2**31)
    _silence()
    print_line(f"SEED={seed}: {asked.minutes:g} minutes of requests")
    with (
        tempfile.TemporaryDirectory(prefix="crm-fuzz-", ignore_cleanup_errors=True) as folder,
        servers(Path(folder), fsync=False) as urls,
    ):
        assert urls.database_url is not None
        assert urls.redis_url is not None
        pools = asyncio.run(_filled(urls.database_url))
        with run_application(
            database_url=urls.database_url,
            redis_url=urls.redis_url,
            folder=Path(folder) / "data",
            pools=pools,
        ) as running:
            effort = Effort(
                phases=("examples", "coverage", "fuzzing", "stateful"),
                seed=seed,
                examples=EXAMPLES,
                only=asked.only,
                seconds=max(1, round(asked.minutes * 60)),
                covers_deep=True,
            )
            report = try_all(running, effort, report_progress=_Progress())
    for finding in sorted(report.findings.values()):
        print_line(f"\n{finding}")
    print_line(f"\nSEED={seed}: {report}")
    return 1 if report.findings else 0


async def _filled(database_url: str) -> Pools:
    await upgrade(database_url)
    engine = create_engine(database_url, pool_size=1, application="crm-api fuzz")
    try:
        async with session_factory(engine)() as session:
            return await insert_rows(session)
    finally:
        await engine.dispose()


class _Progress:
    """Prints the progress every ``REPORT_SECONDS``."""

    def __init__(self) -> None:
        self._begun = self._reported = time.monotonic()

    def __call__(self, report: Report) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            print_line(f"{now - self._begun:5.0f} s: {report}")


def _silence() -> None:
    """Log only errors, because tens of thousands of refused requests are expected."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def print_line(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - the output of a command


if __name__ == "__main__":
    sys.exit(main())

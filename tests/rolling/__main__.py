"""`make rolling`: replace all processes under load; print a table, and fail on any loss."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.rolling.stage import Outcome, Plan, Replacement, roll

SUCCESS_STATUSES = range(200, 300)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--people", type=int, default=1000, help="recipients of each of the two campaigns"
    )
    parser.add_argument("--rate", type=float, default=40, help="messages per second")
    given = parser.parse_args()
    plan = Plan(
        serves=3,
        workers=2,
        rounds=given.rounds,
        people=given.people,
        cap=given.people // 4,
        rate_per_second=given.rate,
    )
    folder = Path(tempfile.mkdtemp(prefix="crm-roll-", dir="/tmp"))
    print_line(
        "| replaced | ended after | next ready after | requests meanwhile | failed | slowest |"
    )
    print_line("| --- | ---: | ---: | ---: | ---: | ---: |")
    began = time.monotonic()
    outcome = asyncio.run(roll(folder, plan, report=show))
    wrong = find_wrong(outcome, plan)
    print_line("")
    print_line(f"Requests: {written(outcome.requests)}. Webhooks: {written(outcome.webhooks)}.")
    print_line(
        f"Campaign messages of the line with a limit of {plan.cap}: {outcome.campaign_messages}."
    )
    print_line(f"Counted at the end: {written(outcome.verdict.figures)}.")
    print_line(
        f"It took {time.monotonic() - began:.0f} s. {'; '.join(wrong) or 'Nothing is wrong.'}"
    )
    if wrong:
        print_line(f"Logs and evidence: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def print_line(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - what the program is for


def show(done: Replacement) -> None:
    print_line(
        f"| {done.name} | {done.stopping_seconds:.1f} s | {done.starting_seconds:.1f} s | "
        f"{len(done.passed)} | {done.failed} | {done.slowest_seconds * 1000:.0f} ms |"
    )


def find_wrong(outcome: Outcome, plan: Plan) -> list[str]:
    """Return the faults of the run as sentences."""
    wrong = list(outcome.faults)
    for what, statuses in (("requests", outcome.requests), ("webhooks", outcome.webhooks)):
        if bad := {one: n for one, n in statuses.items() if one not in SUCCESS_STATUSES}:
            wrong.append(f"{what} failed: {bad}")
    if not outcome.campaign_messages <= plan.cap <= outcome.messages:
        wrong.append(f"{outcome.campaign_messages} messages under a limit of {plan.cap}")
    if not outcome.verdict.is_clean:
        wrong.append(str(outcome.verdict))
    return wrong


def written(counted: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counted.items()))


if __name__ == "__main__":
    sys.exit(main())

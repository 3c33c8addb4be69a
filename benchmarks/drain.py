"""Measure how fast a campaign is sent (claim, gate, call, record), compared with a bare client.

The floor is the worker's HTTP client that posts the same bodies to the same sandbox with the same
concurrency, without a database. The subject is the worker's job without a rate limit. They run in
turn, so that both meet the same load of the machine. Two workers have a sandbox each, because the
provider is not measured. They are also compared with two bare clients, which is their upper limit.
"""

import asyncio
import statistics
import sys
from collections.abc import Callable, Sequence

import psutil

from benchmarks import population
from benchmarks.stage import Figures, Stage, say, stage

COUNT = 50_000
WARM_UP = 2_000
"""Messages that are sent before the measurement: two claims, so that each worker gets one."""
TARGET_RATIO = 0.8
TARGET_PER_SECOND = 1_000
TARGET_TWO = 1.5
FREE_CORE = 0.5
"""If at least this share of a CPU core is idle, a core counts as free."""


def main(count: int = COUNT) -> None:
    """Run the benchmark and print the results."""
    with stage(sandboxes=2) as on:
        floors = [floor(on, count, clients=1)]
        one = drain(on, count, workers=1)
        floors.append(floor(on, count, clients=1))
        two = drain(on, count, workers=2)
        floors.append(floor(on, count, clients=1))
        two_floors = floor(on, count, clients=2)
    _report(floors, two_floors, one, two)


def floor(on: Stage, count: int, *, clients: int) -> Figures:
    """Let bare clients post ``count`` messages together, and return the measurements."""
    share = count // clients
    with on.senders("floor", str(share), count=clients) as children:
        found = on.measure(children, messages=share * clients)
    say(f"{clients} bare: {found.per_second:.0f}/s")
    return found


def drain(on: Stage, count: int, *, workers: int) -> Figures:
    """Let workers send a campaign of ``count`` messages in empty tables; return the figures."""
    url = on.database_url
    warm_up = WARM_UP * workers
    asyncio.run(population.start_campaign(url, warm_up, first=count))
    line_id = asyncio.run(population.add_line(url))
    asyncio.run(population.add_contacts(url, first=0, count=count))
    campaign_id = asyncio.run(population.add_campaign(url, line_id=line_id, first=0, count=count))
    asyncio.run(population.settle(url))
    with on.senders("worker", count=workers) as children:
        asyncio.run(population.set_status(url, campaign_id, "running"))
        found = on.measure(children)
    if found.messages != count:
        raise SystemExit(f"{found.messages} of {count} were sent.")
    asyncio.run(population.clear(url))
    say(f"{workers} draining: {found.per_second:.0f}/s")
    return found


def _report(floors: Sequence[Figures], two_floors: Figures, one: Figures, two: Figures) -> None:
    def middle(read: Callable[[Figures], float]) -> float:
        return statistics.median(read(one) for one in floors)

    rate = middle(lambda figures: figures.per_second)
    by_rate = sorted(floors, key=lambda figures: figures.per_second)
    by_rate[len(by_rate) // 2].show("floor: one bare client (the middle of 3)")
    one.show(f"one worker, {one.messages:,}")
    two.show(f"two workers, {two.messages:,}")
    two_floors.show("floor: two bare clients")
    cores = psutil.cpu_count() or 1
    free = cores - one.busy_cores
    print(f"one worker / floor     {one.per_second / rate:.2f} (at least {TARGET_RATIO})")
    print(f"one worker             {one.per_second:.0f}/s (at least {TARGET_PER_SECOND})")
    print(
        f"two workers / one      {two.per_second / one.per_second:.2f} (at least {TARGET_TWO} where"
        f" a core is free; with one worker {free:.1f} of {cores} had nothing to do"
        f"{'' if free >= FREE_CORE else ', so none is'})"
    )
    print(f"two bare / one bare    {two_floors.per_second / rate:.2f}")
    print(
        "cpu ms a message beyond the floor: worker"
        f" {one.ms(one.sender_cpu) - middle(lambda run: run.ms(run.sender_cpu)):.3f},"
        f" postgres {one.ms(one.postgres_cpu):.3f}"
    )
    show_statements(one)


def show_statements(figures: Figures) -> None:
    """Print how many SQL statements of each kind ran for 1,000 messages."""
    print(f"statements for 1,000 messages: {figures.per_thousand():.1f}, of them")
    for name, _ in figures.statements.most_common():
        print(f"    {name:<32}{figures.per_thousand(name):7.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)

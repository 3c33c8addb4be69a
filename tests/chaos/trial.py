"""Run a fault in a working installation, and judge the result."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tests.chaos.faults import Fault
from tests.chaos.installation import BACKLOG, RATE_PER_SECOND, Installation, open_installation
from tests.chaos.invariants import (
    find_violations,
    read_final_state,
    read_gate_times,
    read_history,
)
from tests.chaos.recovery import Recovery, measure, rate_before
from tests.chaos.status_changes import read_status_changes
from tests.chaos.traffic import DATABASE_UNREACHABLE, Outcome
from tests.crash.crowd import ONLY_OPT_OUTS
from tests.crash.verdict import count_open, judge

from crm_api.platform import clock

USUAL_RATE_WITHIN_SECONDS = 120.0
USUAL_SHARE = 0.8
"""A fault begins when messages are sent at this share of the allowed rate."""
RECOVERS_WITHIN_SECONDS = 120.0
QUIET_WITHIN_SECONDS = 240.0
CLOSES_AFTER = timedelta(seconds=25)
"""Duration of the campaign that starts before each fault. The campaign ends during the fault or
soon after it."""
SHOWN_FAULTS = 20


@dataclass(kw_only=True)
class Trial:
    """The run of one fault, and its effects."""

    fault: Fault
    not_run: str | None = None
    lasted: float = 0.0
    recovery: Recovery | None = None
    rate: float = 0.0
    requests: Counter[Outcome] = field(default_factory=Counter)
    duplicates: int = 0
    lost: int = 0
    after_stop: int = 0
    broken: Mapping[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    """Violations that the other fields do not have, as sentences."""
    reported: list[str] = field(default_factory=list)
    """What the service reported about the fault."""
    load: float = 0.0
    took: float = 0.0
    figures: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        return not (self.duplicates or self.lost or self.after_stop or self.broken or self.wrong)


async def run_faults(
    faults: Sequence[Fault], *, folder: Path, template: Path, seed: int
) -> list[Trial]:
    """Run faults one after the other in one installation, and judge the final state.

    All violations are also written to ``evidence.json`` and ``wrong.json``.
    """
    began = time.monotonic()
    needs = {fault.need for fault in faults if fault.need is not None}
    trials = [Trial(fault=fault) for fault in faults]
    async with open_installation(folder, template, seed=seed, needs=needs) as installation:
        await installation.start_first_campaigns()
        work = [
            asyncio.create_task(installation.crowd.keep_recipients_waiting(backlog=BACKLOG)),
            asyncio.create_task(installation.crowd.act_as_users(ONLY_OPT_OUTS)),
            asyncio.create_task(installation.traffic.run()),
        ]
        keeping = asyncio.create_task(installation.machine.keep_running(installation.unexpected))
        try:
            history: dict[str, str] = {}
            for trial in trials:
                await _prepare(installation, [*work, keeping])
                history |= await read_history(installation)
                await _run_fault(installation, trial, [*work, keeping])
        finally:
            for task in work:
                task.cancel()
            ends = await asyncio.gather(*work, return_exceptions=True)
        wrong = [repr(end) for end in ends if not isinstance(end, asyncio.CancelledError)]
        wrong += await _wait_until_quiet(installation)
        await _judge(installation, trials, history, wrong)
        keeping.cancel()
    for trial in trials:
        trial.took = (time.monotonic() - began) / len(trials)
    return trials


async def _wait_for_usual_rate(installation: Installation, work: list[asyncio.Task[None]]) -> None:
    deadline = time.time() + USUAL_RATE_WITHIN_SECONDS
    while rate_before(installation.traffic, time.time()) < RATE_PER_SECOND * USUAL_SHARE:
        _raise_error_of(work)
        if time.time() > deadline:
            raise TimeoutError("the worker does not send at the usual rate")
        await asyncio.sleep(0.1)


async def _prepare(installation: Installation, work: list[asyncio.Task[None]]) -> None:
    """Start a campaign that ends soon, and wait until messages are sent at the usual rate."""
    end_at = (clock.now() + CLOSES_AFTER).isoformat()
    await installation.crowd.start_campaign(
        schedule={"window": {"start": "00:00", "end": "23:59"}, "timezone": "UTC", "end_at": end_at}
    )
    await _wait_for_usual_rate(installation, work)


async def _run_fault(
    installation: Installation, trial: Trial, work: list[asyncio.Task[None]]
) -> None:
    begun_at = time.time()
    trial.rate = rate_before(installation.traffic, begun_at)
    installation.reported.clear()
    await trial.fault.run(installation)
    trial.reported = list(installation.reported)
    ended_at = time.time()
    trial.lasted = ended_at - begun_at
    while True:
        _raise_error_of(work)
        now = time.time()
        trial.recovery = measure(
            installation.traffic, begun_at=begun_at, ended_at=ended_at, now=now
        )
        is_late = now - ended_at > RECOVERS_WITHIN_SECONDS
        if trial.recovery.seconds is not None or is_late:
            break
        await asyncio.sleep(0.25)
    if trial.recovery.seconds is None:
        trial.wrong.append(f"not recovered {RECOVERS_WITHIN_SECONDS:g} s after its end")
    trial.requests = installation.traffic.counted(
        begun_at, ended_at + (trial.recovery.seconds or 0)
    )
    trial.load = os.getloadavg()[0]


def _raise_error_of(work: list[asyncio.Task[None]]) -> None:
    for task in work:
        if task.done():
            task.result()


async def _wait_until_quiet(installation: Installation) -> list[str]:
    """Wait until the service has no open work and the provider has no event left to deliver."""
    await installation.cancel_capped_campaigns()
    deadline = time.monotonic() + QUIET_WITHIN_SECONDS
    workspace = installation.sandbox.app.workspace
    left = -1
    while time.monotonic() < deadline:
        # Check the provider first, because its remaining events may start work in the service.
        is_reported = workspace.deliverer.counts.pending == 0 and len(workspace.timeline) == 0
        with suppress(*DATABASE_UNREACHABLE):
            left = await count_open(installation.engine)
            if is_reported and left == 0:
                return []
        await asyncio.sleep(0.25)
    return [f"some work did not end: {left} open, {workspace.deliverer.counts}"]


async def _judge(
    installation: Installation, trials: list[Trial], history: Mapping[str, str], wrong: list[str]
) -> None:
    """Compare the database with the provider, check the invariants, and store the violations."""
    verdict = await judge(
        installation.engine,
        installation.provider,
        evidence=installation.folder / "evidence.json",
        gated=read_gate_times(await read_status_changes(installation.engine)),
    )
    faults = await find_violations(await read_final_state(installation, verdict, history))
    wrong = [*installation.violations, *wrong, *verdict.faults, *installation.traffic.refusals]
    for trial in trials:
        trial.duplicates = len(verdict.duplicates)
        trial.lost = len(verdict.losses)
        trial.after_stop = len(verdict.after_stop)
        trial.broken = faults
        trial.figures = verdict.figures
        trial.wrong += wrong
    result = {"wrong": wrong, "broken": faults, "unexpected": installation.unexpected}
    (installation.folder / "wrong.json").write_text(json.dumps(result, indent=1))

"""One fault, from a company at work to the verdict."""

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
from tests.chaos.invariants import broken, find, gates, read_history
from tests.chaos.ledger import read_steps
from tests.chaos.recovery import Recovery, measure, rate_before
from tests.chaos.stage import BACKLOG, RATE_PER_SECOND, Stage, stage
from tests.chaos.traffic import DATABASE_UNREACHABLE, Outcome
from tests.crash.crowd import ONLY_OPT_OUTS
from tests.crash.verdict import count_open, judge

from crm_api.platform import clock

FLOWS_WITHIN_SECONDS = 120.0
FLOWS = 0.8
"""Share of the allowed rate that must be sent before a fault begins."""
RECOVERS_WITHIN_SECONDS = 120.0
QUIET_WITHIN_SECONDS = 240.0
CLOSES_AFTER = timedelta(seconds=25)
"""The end of one campaign falls into each fault or into the time after it."""
SHOWN_FAULTS = 20


@dataclass(kw_only=True)
class Trial:
    """Effects of a fault."""

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
    """Other faults, as sentences."""
    reported: list[str] = field(default_factory=list)
    """What the service reported about the fault."""
    load: float = 0.0
    took: float = 0.0
    figures: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        return not (self.duplicates or self.lost or self.after_stop or self.broken or self.wrong)


async def attempt(
    faults: Sequence[Fault], *, folder: Path, template: Path, seed: int
) -> list[Trial]:
    """Run faults one after the other in one company, and judge it in the end.

    All faults are also written to ``evidence.json`` and ``wrong.json``.
    """
    began = time.monotonic()
    needs = {fault.need for fault in faults if fault.need is not None}
    trials = [Trial(fault=fault) for fault in faults]
    async with stage(folder, template, seed=seed, needs=needs) as scene:
        await scene.open_up()
        work = [
            asyncio.create_task(scene.crowd.keep_recipients_waiting(backlog=BACKLOG)),
            asyncio.create_task(scene.crowd.act_as_users(ONLY_OPT_OUTS)),
            asyncio.create_task(scene.traffic.run()),
        ]
        keeping = asyncio.create_task(scene.machine.keep_running(scene.unexpected))
        try:
            history: dict[str, str] = {}
            for trial in trials:
                await _prepare(scene, [*work, keeping])
                history |= await read_history(scene)
                await _strike(scene, trial, [*work, keeping])
        finally:
            for task in work:
                task.cancel()
            ends = await asyncio.gather(*work, return_exceptions=True)
        wrong = [repr(end) for end in ends if not isinstance(end, asyncio.CancelledError)]
        wrong += await _until_quiet(scene)
        await _judge(scene, trials, history, wrong)
        keeping.cancel()
    for trial in trials:
        trial.took = (time.monotonic() - began) / len(trials)
    return trials


async def _until_texts_flow(scene: Stage, work: list[asyncio.Task[None]]) -> None:
    deadline = time.time() + FLOWS_WITHIN_SECONDS
    while rate_before(scene.traffic, time.time()) < RATE_PER_SECOND * FLOWS:
        _raise_what_failed(work)
        if time.time() > deadline:
            raise TimeoutError("texts do not flow")
        await asyncio.sleep(0.1)


async def _prepare(scene: Stage, work: list[asyncio.Task[None]]) -> None:
    """Start sending, also for a campaign that ends soon."""
    end_at = (clock.now() + CLOSES_AFTER).isoformat()
    await scene.crowd.start_campaign(
        schedule={"window": {"start": "00:00", "end": "23:59"}, "timezone": "UTC", "end_at": end_at}
    )
    await _until_texts_flow(scene, work)


async def _strike(scene: Stage, trial: Trial, work: list[asyncio.Task[None]]) -> None:
    begun_at = time.time()
    trial.rate = rate_before(scene.traffic, begun_at)
    scene.reported.clear()
    await trial.fault.strike(scene)
    trial.reported = list(scene.reported)
    ended_at = time.time()
    trial.lasted = ended_at - begun_at
    while True:
        _raise_what_failed(work)
        now = time.time()
        trial.recovery = measure(scene.traffic, begun_at=begun_at, ended_at=ended_at, now=now)
        is_late = now - ended_at > RECOVERS_WITHIN_SECONDS
        if trial.recovery.seconds is not None or is_late:
            break
        await asyncio.sleep(0.25)
    if trial.recovery.seconds is None:
        trial.wrong.append(f"not as before {RECOVERS_WITHIN_SECONDS:g} s after its end")
    trial.requests = scene.traffic.counted(begun_at, ended_at + (trial.recovery.seconds or 0))
    trial.load = os.getloadavg()[0]


def _raise_what_failed(work: list[asyncio.Task[None]]) -> None:
    for task in work:
        if task.done():
            task.result()


async def _until_quiet(scene: Stage) -> list[str]:
    """Wait until nothing is open, here or on its way from the provider."""
    await scene.close_down()
    deadline = time.monotonic() + QUIET_WITHIN_SECONDS
    workspace = scene.sandbox.app.workspace
    left = -1
    while time.monotonic() < deadline:
        # The provider first: its remaining events may open something here.
        is_reported = workspace.deliverer.counts.pending == 0 and len(workspace.timeline) == 0
        with suppress(*DATABASE_UNREACHABLE):
            left = await count_open(scene.engine)
            if is_reported and left == 0:
                return []
        await asyncio.sleep(0.25)
    return [f"not everything came to its end: {left} open, {workspace.deliverer.counts}"]


async def _judge(
    scene: Stage, trials: list[Trial], history: Mapping[str, str], wrong: list[str]
) -> None:
    """Compare with the provider, check the invariants, and write the faults."""
    verdict = await judge(
        scene.engine,
        scene.provider,
        evidence=scene.folder / "evidence.json",
        gated=gates(await read_steps(scene.engine)),
    )
    faults = await broken(await find(scene, verdict, history))
    wrong = [*scene.complaints, *wrong, *verdict.faults, *scene.traffic.refusals]
    for trial in trials:
        trial.duplicates = len(verdict.duplicates)
        trial.lost = len(verdict.losses)
        trial.after_stop = len(verdict.after_stop)
        trial.broken = faults
        trial.figures = verdict.figures
        trial.wrong += wrong
    result = {"wrong": wrong, "broken": faults, "unexpected": scene.unexpected}
    (scene.folder / "wrong.json").write_text(json.dumps(result, indent=1))

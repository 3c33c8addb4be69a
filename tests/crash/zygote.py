"""Forks worker and API processes in milliseconds, so that hundreds of kills do not take an hour.

The program imports everything once and then reads orders from its standard input, one JSON object
a line. Nothing of an event loop, a connection or a thread exists before a fork, so each child makes
its own, as `crm-api worker` and `crm-api serve` do. What becomes of the children is told on
standard output, one JSON object a line.

    {"command": "worker", "name": "fork_1", "env": {"CRM_…": "…"}, "log": "…",
     "step": "gate.open", "arrival": 3}
    ->  {"pid": 4711, "told": "started", "name": "fork_1", "command": "worker"}
        {"pid": 4711, "told": "stopped"}
        {"pid": 4711, "told": "ended", "code": -9}
"""

import asyncio
import ctypes
import json
import os
import select
import signal
import sys
from collections.abc import Mapping
from typing import Any

from crm_api import failpoints
from crm_api.cli.serve import serve
from crm_api.cli.worker import worker

COMMANDS = {"worker": worker, "serve": serve}
_PR_SET_PDEATHSIG = 1


def stop_at(step: str, *, arrival: int) -> failpoints.Hook:
    """Stand still at the n-th arrival at a step, for whoever watches to decide how this ends."""
    arrivals = 0

    async def hook(name: str) -> None:
        nonlocal arrivals
        if name != step:
            return
        arrivals += 1
        if arrivals == arrival:
            os.kill(os.getpid(), signal.SIGSTOP)

    return hook


def tell_tasks(_signal: int, _frame: object) -> None:
    """Write down where every task waits: for a process that does not end when it is asked to."""
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


def tell(pid: int, told: str, **more: int | str) -> None:
    print(json.dumps({"pid": pid, "told": told, **more}), flush=True)  # noqa: T201 - its voice


def fork(order: Mapping[str, Any]) -> None:
    pid = os.fork()
    if pid == 0:
        live(order)
    tell(pid, "started", name=order["name"], command=order["command"])


def live(order: Mapping[str, Any]) -> None:
    """Be the child: never returns."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, tell_tasks)
        with open(order["log"], "ab") as log, open(os.devnull, "rb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.environ |= order["env"]
        if order.get("step"):
            failpoints.set_hook(stop_at(order["step"], arrival=order["arrival"]))
        COMMANDS[order["command"]]()
        code = 0
    finally:
        os._exit(code)


def watch() -> None:
    """Tell what became of children since the last look."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            tell(pid, "stopped")
        else:
            tell(pid, "ended", code=os.waitstatus_to_exitcode(status))


def main() -> None:
    woken, waking = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            watch()
        if 0 in ready:
            # Unbuffered and whole: orders are short, and the pipe keeps what is short together.
            line = os.read(0, 65536)
            if not line:
                return
            for order in line.splitlines():
                fork(json.loads(order))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a text stream
    main()

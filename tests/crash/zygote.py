"""Fork worker and API processes in milliseconds, so that hundreds of kills take only minutes.

The program imports everything once, and then reads orders from its standard input, one JSON object
per line. Before a fork there is no event loop, connection or thread, so each child process creates
its own, as `crm-api worker` and `crm-api serve` do. The program writes the states of the child
processes to its standard output, one JSON object per line.

    {"command": "worker", "name": "fork_1", "env": {"CRM_…": "…"}, "log": "…",
     "step": "gate.open", "arrival": 3}
    ->  {"pid": 4711, "state": "started", "name": "fork_1", "command": "worker"}
        {"pid": 4711, "state": "stopped"}
        {"pid": 4711, "state": "ended", "code": -9}
"""

import asyncio
import ctypes
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from crm_api.cli.serve import serve
from crm_api.cli.worker import worker
from crm_api.platform import failpoints

COMMANDS = {"worker": worker, "serve": serve}
_PR_SET_PDEATHSIG = 1


def stop_at(step: str, *, arrival: int) -> failpoints.Hook:
    """Return a hook that stops the process when it has reached the step ``arrival`` times.

    The process that watches the stopped process decides what follows.
    """
    arrivals = 0

    async def hook(name: str) -> None:
        nonlocal arrivals
        if name != step:
            return
        arrivals += 1
        if arrivals == arrival:
            os.kill(os.getpid(), signal.SIGSTOP)

    return hook


def print_tasks(_signal: int, _frame: object) -> None:
    """Print where every task waits.

    A process that does not end after SIGTERM runs this function.
    """
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


def report(pid: int, state: str, **more: int | str) -> None:
    print(json.dumps({"pid": pid, "state": state, **more}), flush=True)  # noqa: T201 - the protocol


def fork(order: Mapping[str, Any]) -> None:
    pid = os.fork()
    if pid == 0:
        run_child(order)
    report(pid, "started", name=order["name"], command=order["command"])


def run_child(order: Mapping[str, Any]) -> None:
    """Run the command of the order in the forked process. This function never returns."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, print_tasks)
        with open(order["log"], "ab") as log, open(os.devnull, "rb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.environ |= order["env"]
        if order.get("step"):
            failpoints.set_hook(stop_at(order["step"], arrival=order["arrival"]))
        COMMANDS[order["command"]]()
        code = 0
    except BaseException:  # noqa: BLE001 - every error: `_exit` prints nothing
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def watch() -> None:
    """Report the state changes of child processes since the last call."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            report(pid, "stopped")
        else:
            report(pid, "ended", code=os.waitstatus_to_exitcode(status))


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
            # Read without a buffer. A read returns only whole orders, because the orders are short
            # and a pipe does not split short writes.
            line = os.read(0, 65536)
            if not line:
                return
            for order in line.splitlines():
                fork(json.loads(order))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a text stream
    main()

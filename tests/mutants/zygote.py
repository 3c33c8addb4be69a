"""Fork one pytest run per mutant from a process that has loaded all libraries.

A mutant is a small change of the code. Loading the libraries takes most of a short test run. This
program loads the libraries once, and none of the project's own modules. It reads orders from its
standard input, one JSON object per line, and writes one exit code per line:

    {"env": {"MUTANT": "…"}, "arguments": ["-q", "…"], "seconds": 180}
    ->  1

The exit code is the one of pytest. The code 124 means that the run was ended because it took too
long. A negative code is the number of the signal that ended the run.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

TIMED_OUT = 124
"""The exit code that the command timeout(1) uses too. Negative exit codes are signals."""
OWN = ("crm_api", "tests", "benchmarks")
_POLL_SECONDS = 0.02


def main() -> None:
    load_libraries(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        print(run(json.loads(line)), flush=True)  # noqa: T201 - the answer


def load_libraries(names: list[str]) -> None:
    """Import libraries by name. If one cannot be imported alone, each run imports it itself."""
    for name in names:
        try:
            import_module(name)
        except Exception:  # noqa: BLE001, S112 - whatever a library raises when imported out of order
            continue


def run(order: Mapping[str, Any]) -> int:
    """Run pytest in a forked process; return its exit code."""
    pid = os.fork()
    if pid == 0:
        _be_the_run(order)
    deadline = time.monotonic() + order["seconds"]
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_POLL_SECONDS)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return TIMED_OUT


def _be_the_run(order: Mapping[str, Any]) -> None:
    code = 3
    try:
        os.setpgid(0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.environ.update(order["env"])
        code = int(import_module("pytest").main(order["arguments"]))
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()

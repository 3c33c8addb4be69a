"""Move the times of files as the clock is moved, in a run of `make test-dates`.

Each Python process of the run loads this module at its start. libfaketime does not replace
``stat64``, which Python calls to read the times of a file. Without this module, the age of each new
file would be the time by which the clock is moved.
"""

import os
from typing import Any

_AHEAD = int(os.environ.get("FAKETIME", "0"))
_NAMES = [name for name in dir(os.stat_result) if name.startswith("st_")]
_TIMES = ("st_atime", "st_mtime", "st_ctime")
_read = os.stat


def _stat(*place: Any, **options: Any) -> os.stat_result:
    found = _read(*place, **options)
    values = {name: getattr(found, name) for name in _NAMES}
    for name in _TIMES:
        values[name] += _AHEAD
        values[f"{name}_ns"] += _AHEAD * 10**9
    return os.stat_result([*tuple(found)[:7], *(int(values[name]) for name in _TIMES)], values)


os.stat = _stat

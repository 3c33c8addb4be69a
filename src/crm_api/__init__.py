"""A service that sends a foundation-repair company's text campaigns and receives the replies."""

import sys
from typing import Any, cast

# structlog and httpx import rich and pygments where they are installed: for tracebacks in colour,
# and for a command line of httpx. This program uses neither. Without them, each process needs 7 MB
# less memory (measured), and starts earlier. If the value of a module in ``sys.modules`` is None,
# its import raises ImportError.
_modules = cast("dict[str, Any]", sys.modules)
_modules.setdefault("httpx._main", None)
if "structlog" not in _modules and "rich" not in _modules:
    _modules["rich"] = None
    try:
        import structlog as _structlog  # noqa: F401 - for its effect
    finally:
        del _modules["rich"]  # the demo and the help of commands use it

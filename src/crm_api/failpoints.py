"""Named steps of sends and imports, at which a test may stop or kill the process.

Nothing is hooked in production, and no setting hooks anything: only a test's own process does.
"""

from collections.abc import Awaitable, Callable

Hook = Callable[[str], Awaitable[None]]

_hook: Hook | None = None


def set_hook(hook: Hook | None) -> None:
    """Have ``hook`` awaited with the name of each step that is reached; None takes it off."""
    global _hook  # noqa: PLW0603 - one for the process, as the process is what it kills
    _hook = hook


async def reach(name: str) -> None:
    """Tell that a step is reached; does nothing unless a test has set a hook."""
    if _hook is not None:
        await _hook(name)

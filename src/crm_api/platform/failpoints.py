"""Named steps of sends and imports at which a test may stop or kill the process.

In production there is no hook, and no setting can set one: only a test's own process does.
"""

from collections.abc import Awaitable, Callable

Hook = Callable[[str], Awaitable[None]]

_hook: Hook | None = None


def set_hook(hook: Hook | None) -> None:
    """Await ``hook`` with the name of each step that is reached; None removes it."""
    global _hook  # noqa: PLW0603 - one per process, because it kills the process
    _hook = hook


async def reach(name: str) -> None:
    """Report that a step is reached; does nothing unless a test has set a hook."""
    if _hook is not None:
        await _hook(name)

"""Named steps of sending and importing, at which a test can pause or kill the process.

A test sets a hook in its own process. Neither production code nor a setting can set a hook.
"""

from collections.abc import Awaitable, Callable

Hook = Callable[[str], Awaitable[None]]

_hook: Hook | None = None


def set_hook(hook: Hook | None) -> None:
    """Set the hook: a function that runs at certain steps, so that a test can pause the process.

    The hook gets the name of the step, such as ``claim.open``. If ``hook`` is None, no function
    runs at the steps from now on.
    """
    global _hook  # noqa: PLW0603 - one per process, because it kills the process
    _hook = hook


async def reach(name: str) -> None:
    """Call the hook (the function that a test has set) with the name of this step.

    If no hook is set, do nothing.
    """
    if _hook is not None:
        await _hook(name)

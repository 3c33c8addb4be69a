"""Run a sandbox on a free port beside the caller, for tests, demos and benchmarks."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import uvicorn

from crm_api.sandbox.app import Sandbox, create_sandbox
from crm_api.sandbox.config import SandboxConfig
from crm_api.sandbox.moved_clock import Dated

START_SECONDS = 10.0


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that answers; ``app`` lives on another thread, so change it by HTTP only."""

    url: str
    app: Sandbox


@contextlib.contextmanager
def run_sandbox(config: SandboxConfig | None = None, *, port: int = 0) -> Iterator[RunningSandbox]:
    """Serve a sandbox on loopback from a thread until the block ends; port 0 is a free one.

    Raises:
        RuntimeError: It did not start in time.
        OSError: The port is taken.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = config or SandboxConfig()
        app = create_sandbox(replace(config, media_url=config.media_url or url))
        server = uvicorn.Server(server_config(app))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield RunningSandbox(url, app)
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)


def server_config(app: Sandbox, *, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    """Return how uvicorn should serve it: hung requests do not hold up the end."""
    return uvicorn.Config(
        Dated(app, app.world.clock),
        date_header=False,
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        log_level="warning",
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=1,
    )


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("the sandbox did not start")
        time.sleep(0.01)

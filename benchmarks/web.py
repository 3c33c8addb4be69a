"""Start, await and stop web processes of benchmarks."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def free_port() -> int:
    """Return a free port on the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def listening(arguments: list[str], environment: dict[str, str], *, port: int) -> Iterator[None]:
    """Run Python with these arguments during a block, which begins when the port listens."""
    process = subprocess.Popen([sys.executable, *arguments], env=environment)  # noqa: S603 - ours
    try:
        asyncio.run(_wait_for(process, port))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


async def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit(f"the web process on port {port} ended with {process.returncode}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise SystemExit(f"the web process on port {port} does not listen")

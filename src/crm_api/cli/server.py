"""The uvicorn server that the API and the sandbox use."""

import signal
import socket
from types import FrameType

import uvicorn

from crm_api.platform import tracing


class Server(uvicorn.Server):
    """uvicorn server that sends the remaining traces and exits with status 0 after SIGTERM."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down after the running requests have ended; hide SIGTERM from uvicorn.

        When uvicorn ends, it sends every signal that it received to its own process again. So after
        SIGTERM the process would exit with status 143, which process managers count as a failure.
        """
        if sig == signal.SIGTERM:
            self.should_exit = True
        else:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for running requests, then send the remaining traces."""
        await super().shutdown(sockets)
        # Here, because uvicorn ends the process itself after a signal other than SIGTERM.
        tracing.stop()

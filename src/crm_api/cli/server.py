"""uvicorn server for the API and the sandbox."""

import signal
import socket
from types import FrameType

import uvicorn

from crm_api.platform import tracing


class Server(uvicorn.Server):
    """Ends with exit status 0 after SIGTERM, and sends the remaining traces first."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down after the running requests have ended.

        At its end uvicorn raises each signal that it received again, so the process dies of SIGTERM
        (status 143). Process managers count that as a failure, so uvicorn does not get SIGTERM.
        """
        if sig == signal.SIGTERM:
            self.should_exit = True
        else:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for running requests, then send the remaining traces."""
        await super().shutdown(sockets)
        # After a signal other than SIGTERM, uvicorn ends the process itself.
        tracing.stop()

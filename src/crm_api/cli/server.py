"""uvicorn's server, for the API and the sandbox."""

import socket

import uvicorn

from crm_api import tracing


class Server(uvicorn.Server):
    """Sends what is left of the traces when it goes down: uvicorn ends the process with it."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for the requests that run, then send."""
        await super().shutdown(sockets)
        tracing.stop()

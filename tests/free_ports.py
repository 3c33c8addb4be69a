"""Free ports for the servers that tests start."""

import random
import socket
from contextlib import ExitStack, suppress

_FIRST, _LAST = 20_000, 32_000
"""The ports are below the range from which Linux chooses the local port of a connection
(32768 to 60999 by default). So no connection takes the port before the server starts."""
_CHOICE = random.SystemRandom()


def free_port() -> int:
    """Return a port of the loopback address that is free, and whose next port is free too.

    The sandbox of `crm-api up` uses the next port. The port is chosen at random, so that processes
    that ask at the same time rarely get the same port.
    """
    while True:
        port = _CHOICE.randrange(_FIRST, _LAST)
        with ExitStack() as stack, suppress(OSError):
            for each in (port, port + 1):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", each))
            return port

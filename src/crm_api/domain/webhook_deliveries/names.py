"""Looks up the names of hosts, so that a name server that hangs holds up no other host.

The system's resolver blocks a thread for as long as the name server is silent, half a minute and
more. So lookups have threads of their own, enough for every endpoint, and a name that is being
looked up is not looked up once more beside it.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from crm_api.domain.webhook_endpoints.service import MOST_ENDPOINTS

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
LookUp = Callable[[str, int, int], Sequence[AddressInfo]]
"""Host, port and family to what ``getaddrinfo`` gives; it may block."""


def _ask_system(host: str, port: int, family: int) -> Sequence[AddressInfo]:
    return socket.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )


class PatientResolver(AbstractResolver):
    """Who asks may give up; the lookup goes on, and whoever asks then waits for the same."""

    def __init__(self, look_up: LookUp = _ask_system) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(MOST_ENDPOINTS, thread_name_prefix="webhook names")
        self._under_way: dict[tuple[str, int, int], asyncio.Future[Sequence[AddressInfo]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Find the addresses of a host.

        Raises:
            OSError: The host is not known.
        """
        wanted = (host, port, int(family))
        asked = self._under_way.get(wanted)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._threads, self._look_up, *wanted)
            self._under_way[wanted] = asked
            asked.add_done_callback(partial(self._note, wanted))
        found = await asyncio.shield(asked)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    def _note(
        self, wanted: tuple[str, int, int], asked: "asyncio.Future[Sequence[AddressInfo]]"
    ) -> None:
        del self._under_way[wanted]
        if not asked.cancelled():
            asked.exception()  # whoever asked may be gone; that is no error of the loop's

    async def close(self) -> None:
        """Begin no more lookups; those that hang end with their name servers."""
        self._threads.shutdown(wait=False, cancel_futures=True)

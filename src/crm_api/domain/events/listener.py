"""Somebody who listens: a bounded queue of what is to be sent."""

import asyncio

from crm_api.domain.events.interest import Interest

MOST_CHUNKS = 128
"""Some 13 seconds of what changes all the time; who is further behind starts anew."""


class Listener:
    """What one stream has still to send.

    Attributes:
        interest: What it is given.
        is_live: It is given what the hub reads; before, it catches up from the log.
        is_over: Nothing more comes: it was too slow, or the process goes down.
    """

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.is_live = False
        self.is_over = False
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue(MOST_CHUNKS)

    @property
    def is_empty(self) -> bool:
        """True when it has been given nothing that it has not taken."""
        return self._chunks.empty()

    def put(self, chunk: bytes) -> None:
        """Add what is to be sent; one whose queue is full is too slow, and is ended."""
        if not self.is_live or self.is_over:
            return
        try:
            self._chunks.put_nowait(chunk)
        except asyncio.QueueFull:
            self.end()

    def end(self) -> None:
        """Let the stream end; what it has not taken is dropped, for the log has it."""
        self.is_over = True
        while not self._chunks.empty():
            self._chunks.get_nowait()
        self._chunks.put_nowait(b"")

    async def take(self) -> bytes:
        """Wait for what is to be sent; empty at the end."""
        return await self._chunks.get()

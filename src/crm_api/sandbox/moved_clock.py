"""The sandbox's time: the machine's, moved forward by order."""

from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class MovedClock:
    """Another clock and a shift; while time is skipped it stands where things happen.

    Attributes:
        shift: How far ahead of the other clock.
    """

    def __init__(self, base: Callable[[], datetime]) -> None:
        self._base = base
        self.shift = timedelta(0)
        self._held: datetime | None = None

    def __call__(self) -> datetime:
        """Return the instant."""
        return self._held or self._base() + self.shift

    def hold(self, at: datetime | None) -> None:
        """Stand still at an instant; None lets it go on."""
        self._held = at


class Dated:
    """Puts the sandbox's own time into the ``Date`` of every answer, as a server far away would.

    Only for a server that sends none itself.
    """

    def __init__(self, app: ASGIApp, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does, with a date."""
        if scope["type"] == "http":
            send = _DatedSend(send, self._clock).send
        await self._app(scope, receive, send)


class _DatedSend:
    def __init__(self, send: Send, clock: Callable[[], datetime]) -> None:
        self._send = send
        self._clock = clock

    @property
    def transport(self) -> Any:  # noqa: ANN401 - uvicorn's own class
        """The connection, for resets: see ``wire.reset``."""
        return getattr(getattr(self._send, "__self__", None), "transport", None)

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            date = format_datetime(self._clock(), usegmt=True).encode()
            message = {**message, "headers": [*message.get("headers", ()), (b"date", date)]}
        await self._send(message)

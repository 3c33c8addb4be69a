"""A provider in this process that accepts, refuses, fails and lists, as the real API does.

It responds to HTTP requests of the service's real client. Faults are queued beforehand, one for
each call. Without a queued fault, every message is accepted.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Any

import httpx
import orjson

PAGE = 2
"""Size of a page of the list, which is small so that look-ups read several pages."""


class Fault(StrEnum):
    """How one call fails. If the value contains "accepted", the message is sent nevertheless."""

    NONE = "none"
    REFUSED = "400"
    THROTTLED = "429"
    THROTTLED_LONG = "429 for two minutes"
    NO_CREDITS = "402"
    ERROR = "500"
    ERROR_ACCEPTED = "500, accepted"
    RESET = "reset"
    RESET_ACCEPTED = "reset, accepted"
    SILENT = "no answer"
    SILENT_ACCEPTED = "no answer, accepted"
    NO_ID = "202 without id"
    NO_CONNECTION = "not connected"


ACCEPTING = frozenset(
    {Fault.NONE, Fault.ERROR_ACCEPTED, Fault.RESET_ACCEPTED, Fault.SILENT_ACCEPTED, Fault.NO_ID}
)


@dataclass
class SentMessage:
    """A message that the provider has accepted."""

    id: str
    line: str
    phone: str
    body: str
    at: datetime
    fault: Fault
    report: str = "sent"
    """Status of the message in the provider's list."""
    reported_at: datetime | None = None


@dataclass
class Provider(httpx.AsyncBaseTransport):
    """The fake provider, which is also the transport of the client.

    Attributes:
        now: The clock that the test moves.
        on_accept: Called with every message at the instant at which it is accepted.
        orders: Faults of the next calls, one for each call.
        list_delay: Age at which an accepted message appears in the list.
        failing_reads: Number of the next look-ups that fail.
        faults_used: How many calls had a fault.
        refusals: How often the account was refused.
    """

    now: Callable[[], datetime]
    on_accept: Callable[[SentMessage], None]
    number: str
    messages: list[SentMessage] = field(default_factory=list)
    orders: deque[Fault] = field(default_factory=deque)
    list_delay: timedelta = timedelta(0)
    failing_reads: int = 0
    faults_used: int = 0
    refusals: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to one request."""
        if request.method == "POST" and request.url.path == "/v1/messages":
            return await self._send(request)
        if request.method == "GET" and request.url.path == "/v1/messages":
            return self._list(request.url.params)
        return httpx.Response(404)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        fault = self.orders.popleft() if self.orders else Fault.NONE
        self.faults_used += fault is not Fault.NONE
        self.refusals += fault is Fault.NO_CREDITS
        if fault is Fault.NO_CONNECTION:
            raise httpx.ConnectError("refused")
        body = orjson.loads(await request.aread())
        (phone,) = body["to"]
        if fault not in ACCEPTING:
            return self._fail(fault)
        message = SentMessage(
            id=f"AC{len(self.messages)}",
            line=body["from"],
            phone=phone,
            body=body["content"],
            at=self.now(),
            fault=fault,
        )
        self.messages.append(message)
        self.on_accept(message)
        if fault is Fault.NONE:
            return self._answer(202, {"data": self._shown(message)})
        if fault is Fault.NO_ID:
            shown = self._shown(message)
            del shown["id"]
            return self._answer(202, {"data": shown})
        return self._fail(fault)

    def _fail(self, fault: Fault) -> httpx.Response:
        match fault:
            case Fault.REFUSED:
                return self._answer(400, {"code": "0201400", "message": "Invalid recipient"})
            case Fault.THROTTLED:
                return self._answer(429, {"code": "0200429", "message": "Rate limit exceeded"})
            case Fault.THROTTLED_LONG:
                return self._answer(429, {"message": "Rate limit exceeded"}, retry_after="120")
            case Fault.NO_CREDITS:
                return self._answer(402, {"code": "0200402", "message": "Not enough credits"})
            case Fault.ERROR | Fault.ERROR_ACCEPTED:
                return self._answer(500, {"code": "0201500", "message": "Unknown error"})
            case Fault.RESET | Fault.RESET_ACCEPTED:
                raise httpx.ReadError("reset")
        raise httpx.ReadTimeout("silence")

    def _answer(
        self, status: int, body: dict[str, Any], *, retry_after: str | None = None
    ) -> httpx.Response:
        headers = {"date": format_datetime(self.now().astimezone(UTC), usegmt=True)}
        if retry_after is not None:
            headers["retry-after"] = retry_after
        return httpx.Response(status, headers=headers, content=orjson.dumps(body))

    def _list(self, query: httpx.QueryParams) -> httpx.Response:
        if self.failing_reads:
            self.failing_reads -= 1
            return self._answer(503, {"message": "Unavailable"})
        after = datetime.fromisoformat(query["createdAfter"])
        before = datetime.fromisoformat(query["createdBefore"])
        listed = [
            message
            for message in reversed(self.messages)
            if message.line == query["phoneNumberId"]
            and message.phone == query["participants"]
            and after < message.at < before
            and message.at + self.list_delay <= self.now()
        ]
        begin = int(query.get("pageToken", "0"))
        end = begin + PAGE
        return self._answer(
            200,
            {
                "data": [self._shown(message) for message in listed[begin:end]],
                "totalItems": len(listed),
                "nextPageToken": str(end) if end < len(listed) else None,
            },
        )

    def _shown(self, message: SentMessage) -> dict[str, Any]:
        return {
            "id": message.id,
            "to": [message.phone],
            "from": self.number,
            "text": message.body,
            "phoneNumberId": message.line,
            "direction": "outgoing",
            "userId": "US1",
            "status": message.report,
            "createdAt": _instant(message.at),
            "updatedAt": _instant(message.reported_at or message.at),
        }

    def report(self, message: SentMessage, *, status: str, number: int) -> dict[str, Any]:
        """Return the webhook event that reports a status of a message."""
        reported_at = self.now()
        if message.reported_at is None or status == "delivered":
            message.report, message.reported_at = status, reported_at
        return self._event(
            f"message.{status}",
            number,
            {**self._shown(message), "status": status, "updatedAt": _instant(reported_at)},
            sender=self.number,
            recipient=message.phone,
            line=message.line,
        )

    def incoming(
        self, phone: str, words: str, *, line: str, at: datetime, number: int
    ) -> dict[str, Any]:
        """Return the webhook event of a message from a person."""
        resource = {
            "id": f"ACin{number}",
            "direction": "incoming",
            "text": words,
            "media": [],
            "status": "received",
            "createdAt": _instant(at),
        }
        return self._event(
            "message.received", number, resource, sender=phone, recipient=self.number, line=line
        )

    def call(self, phone: str, *, line: str, at: datetime, number: int) -> dict[str, Any]:
        """Return the webhook event of a call from a person."""
        resource = {"id": f"ACcall{number}", "direction": "incoming", "createdAt": _instant(at)}
        event = self._event(
            "call.ringing", number, resource, sender=phone, recipient=self.number, line=line
        )
        event["data"]["context"]["participants"] = {
            "workspace": [self.number],
            "external": [phone],
            "resolution": "available",
        }
        return event

    def _event(
        self,
        kind: str,
        number: int,
        resource: dict[str, Any],
        *,
        sender: str,
        recipient: str,
        line: str,
    ) -> dict[str, Any]:
        return {
            "id": f"EV{number}",
            "apiVersion": "2026-03-30",
            "createdAt": _instant(self.now()),
            "type": kind,
            "data": {
                "resource": resource,
                "context": {
                    "phoneNumberId": line,
                    "conversationId": None,
                    "userId": "US1",
                    "senderIdentifier": sender,
                    "recipientIdentifiers": [recipient],
                },
            },
        }


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Register webhooks at the provider, and read their delivery logs.

The provider has two systems. Each system lists only the webhooks that were created with this
system. Webhooks that users created in the provider's app are not listed.

- Legacy (``/v1/webhooks``): a webhook gets one family of events. Its key is always shown. It cannot
  be changed.
- API version 2026-03-30 (``/webhooks``): a webhook gets several families. Its key is shown once. It
  can be changed and tested, and has a delivery log.

Sources: the OpenPhone API description 1.0.0, read 2026-11-24; the page "Webhooks" (API version
2026-03-30) of Quo, the new name of OpenPhone, read 2026-11-25.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from crm_api.domain.kit.retrying import retrying
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError, OpenPhoneRefusedError
from crm_api.domain.provider.openphone.facts import HookDelivery, RegisteredWebhook
from crm_api.domain.provider.openphone.json_values import (
    first_text,
    instant,
    items,
    mapping,
    number,
    text,
)
from crm_api.domain.provider.openphone.reading import (
    DATED_VERSION,
    Query,
    ReadClient,
    problem_of,
    request_once,
)
from crm_api.domain.provider.openphone.send_responses import read_json
from crm_api.domain.provider.openphone.wire import parse_webhook

LOG_PAGE_SIZE = 50
LEGACY_FAMILIES: Mapping[str, frozenset[str]] = {
    "messages": frozenset({"message.received", "message.delivered"}),
    "calls": frozenset({"call.ringing", "call.completed", "call.recording.completed"}),
    "call-summaries": frozenset({"call.summary.completed"}),
    "call-transcripts": frozenset({"call.transcript.completed"}),
}
"""The event types that a legacy webhook of each family can receive."""
_STATUSES = (100, 599)


class HookApi:
    """Registers, changes, tests and inspects webhooks over the client's connections.

    A failed read request is retried a few times. A request that changes data is retried only after
    the status 429.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        reader: ReadClient,
        *,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._http = http
        self._reader = reader
        self._sleep = sleep

    async def list_legacy(self) -> list[RegisteredWebhook]:
        """Fetch the legacy webhooks that the owner of the API key created through the API.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no response, even after retries.
            OpenPhoneRefusedError: Any other 4xx.
            UnreadableEventError: A webhook has no id or no URL.
        """
        answer = await self._reader.get("/v1/webhooks", [])
        return [parse_webhook(item) for item in items(answer.get("data"))]

    async def list_dated(self) -> list[RegisteredWebhook]:
        """Fetch the workspace's webhooks of API version 2026-03-30; there are at most 50.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no response, even after retries.
            OpenPhoneRefusedError: Any other 4xx. The status is 404 if the host has only API v1.
            UnreadableEventError: A webhook has no id or no URL.
        """
        pages = self._reader.pages(
            "/webhooks", [], sent="after", given="nextCursor", headers=DATED_VERSION
        )
        return [parse_webhook(item) async for item in pages]

    async def create_legacy(
        self, *, family: str, url: str, events: Sequence[str], label: str
    ) -> RegisteredWebhook:
        """Register a legacy webhook, which is enabled immediately; the result contains its key.

        Args:
            family: The one group of event types that the webhook receives, such as ``messages``.
            events: The types of the events to deliver.

        Raises:
            OpenPhoneBusyError: 429 even after retries, 5xx or no response. After 5xx or no
                response, the webhook may exist nevertheless.
            OpenPhoneRefusedError: Any other 4xx.
            UnreadableEventError: The response contains no webhook.
        """
        body = {"url": url, "events": list(events), "resourceIds": ["*"], "label": label}
        answer = await self._call("POST", f"/v1/webhooks/{family}", body)
        return parse_webhook(answer.get("data"))

    async def create_dated(
        self, *, url: str, events: Sequence[str], label: str
    ) -> RegisteredWebhook:
        """Register a webhook of API version 2026-03-30, disabled at first.

        Store its key before you enable it.

        Raises:
            OpenPhoneBusyError: 429 even after retries, 5xx or no response. After 5xx or no
                response, the webhook may exist nevertheless.
            OpenPhoneRefusedError: Any other 4xx.
            UnreadableEventError: The response contains no webhook.
        """
        body = {
            "url": url,
            "events": list(events),
            "resourceIds": ["*"],
            "label": label,
            "status": "disabled",
        }
        answer = await self._call("POST", "/webhooks", body, DATED_VERSION)
        return parse_webhook(answer.get("data"))

    async def update_dated(self, webhook_id: str, **changes: Any) -> None:  # noqa: ANN401 - JSON members
        """Change a webhook that uses the API version 2026-03-30.

        If a new list of events or lines is given, it replaces the old list.

        Raises:
            OpenPhoneBusyError: 429 even after retries, 5xx or no response.
            OpenPhoneRefusedError: Any other 4xx.
        """
        await self._call("PATCH", _path(webhook_id), changes, DATED_VERSION)

    async def rotate(self, webhook_id: str) -> str | None:
        """Replace a webhook's signing key, and return the new key.

        The provider shows a new key only in this response. If the response contains no key, the
        result is None.

        Raises:
            OpenPhoneBusyError: 429 even after retries, 5xx or no response. After 5xx or no
                response, the key may have changed nevertheless.
            OpenPhoneRefusedError: Any other 4xx.
        """
        answer = await self._call("POST", _path(webhook_id, "rotate"), None, DATED_VERSION)
        return first_text(mapping(answer.get("data")).get("key"), answer.get("key"))

    async def delete(self, webhook_id: str, *, is_dated: bool) -> None:
        """Delete a webhook; do nothing if it does not exist.

        Args:
            is_dated: True for a webhook of API version 2026-03-30; False for a legacy webhook.

        Raises:
            OpenPhoneBusyError: 429 even after retries, 5xx or no response.
            OpenPhoneRefusedError: Any other 4xx except 404.
        """
        path = _path(webhook_id) if is_dated else "/v1" + _path(webhook_id)
        try:
            await self._call("DELETE", path, None, DATED_VERSION if is_dated else None)
        except OpenPhoneRefusedError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    async def send_test(self, webhook_id: str, event_type: str) -> str | None:
        """Ask the provider to deliver a signed sample event to a webhook.

        Returns:
            The event id of the sample, which is the same for all samples of a type; None if the
            response has no id.

        Raises:
            OpenPhoneBusyError: 429 even after retries, 5xx or no response.
            OpenPhoneRefusedError: Any other 4xx.
        """
        path = _path(webhook_id, "events", "test")
        answer = await self._call("POST", path, {"eventType": event_type}, DATED_VERSION)
        return first_text(answer.get("id"), mapping(answer.get("data")).get("id"))

    async def deliveries(
        self, webhook_id: str, *, status: str, after: datetime
    ) -> AsyncIterator[HookDelivery]:
        """Yield the deliveries in a webhook's log, from all its pages, newest first.

        Args:
            status: ``success``, ``pending`` (not tried yet), ``sending`` (to be tried again) or
                ``failed``.
            after: Only deliveries that were dispatched later than this time.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no response, even after retries.
            OpenPhoneRefusedError: Any other 4xx.
            OpenPhoneListError: The list repeats itself or does not end, or a page has no data.
        """
        at = after.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        query: Query = [
            ("status", status),
            ("createdAt[gt]", at),
            ("limit", str(LOG_PAGE_SIZE)),
        ]
        pages = self._reader.pages(
            _path(webhook_id, "events"),
            query,
            sent="after",
            given="nextCursor",
            headers=DATED_VERSION,
        )
        async for item in pages:
            delivery = _delivery(item)
            if delivery is not None:
                yield delivery

    async def delivery(self, webhook_id: str, delivery_id: str) -> HookDelivery | None:
        """Fetch one delivery, with the HTTP statuses of our responses to it.

        The result is None if the delivery in the provider's response has no id.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no response, even after retries.
            OpenPhoneRefusedError: Any other 4xx; 404 if the delivery does not exist.
        """
        path = _path(webhook_id, "events", delivery_id)
        answer = await self._reader.get(path, [], headers=DATED_VERSION)
        return _delivery(answer.get("data"))

    async def retry(self, webhook_id: str, delivery_id: str) -> None:
        """Ask the provider to deliver an event again; the event arrives later at the webhook's URL.

        Raises:
            OpenPhoneBusyError: 429 even after retries, 5xx or no response.
            OpenPhoneRefusedError: Any other 4xx.
        """
        path = _path(webhook_id, "events", delivery_id, "retry")
        await self._call("POST", path, None, DATED_VERSION)

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any]:
        patient = retrying(OpenPhoneBusyError, sleep=self._sleep, only_throttled=True)
        answer: Mapping[str, Any] = await patient(self._call_once, method, path, body, headers)
        return answer

    async def _call_once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> Mapping[str, Any]:
        request = self._http.build_request(method, path, json=body, headers=headers)
        response = await request_once(self._http, request)
        if response.is_success:
            return mapping(read_json(response))
        raise problem_of(response)


def _path(webhook_id: str, *more: str) -> str:
    return "/".join(
        ["/webhooks", quote(webhook_id, safe=""), *(quote(one, safe="") for one in more)]
    )


def _delivery(item: object) -> HookDelivery | None:
    """Parse a delivery in the log; None if the delivery has no id."""
    entry = mapping(item)
    delivery_id = text(entry.get("id"))
    if delivery_id is None:
        return None
    body = mapping(entry.get("requestBody"))
    return HookDelivery(
        delivery_id=delivery_id,
        event_id=first_text(entry.get("eventId"), body.get("id")),
        created_at=instant(entry.get("createdAt")),
        response_statuses=tuple(
            _http_status(number(mapping(one).get("responseStatusCode")))
            for one in items(entry.get("attempts"))
        ),
    )


def _http_status(value: float | None) -> int | None:
    return int(value) if value is not None and _STATUSES[0] <= value <= _STATUSES[1] else None

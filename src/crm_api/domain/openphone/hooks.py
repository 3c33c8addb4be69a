"""The provider's webhooks: its two systems of registering them, and its log of deliveries.

Legacy webhooks (``/v1/webhooks``, a family of events each) show their key whenever they are read
and cannot be changed. Those of 2026-03-30 (``/webhooks``) mix families, can be changed, tested and
looked into, and show their key once. Each system lists only its own; neither lists what was made
in the provider's app.

Source: OpenPhone API description 1.0.0, read 2026-11-24; restated from Quo, "Webhooks"
(2026-03-30), read 2026-11-25.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import httpx

from crm_api.domain.openphone.answers import read_json
from crm_api.domain.openphone.errors import OpenPhoneBusyError, OpenPhoneRefusedError
from crm_api.domain.openphone.facts import DeliveryAttempt, HookDelivery, RegisteredWebhook
from crm_api.domain.openphone.json_values import first_text, instant, items, mapping, number, text
from crm_api.domain.openphone.reading import Query, Reader
from crm_api.domain.openphone.wire import parse_problem, parse_webhook

DATED_VERSION = {"Quo-Api-Version": "2026-03-30"}
LOG_PAGE_SIZE = 50
LEGACY_FAMILIES: Mapping[str, frozenset[str]] = {
    "messages": frozenset({"message.received", "message.delivered"}),
    "calls": frozenset({"call.ringing", "call.completed", "call.recording.completed"}),
    "call-summaries": frozenset({"call.summary.completed"}),
    "call-transcripts": frozenset({"call.transcript.completed"}),
}
"""Which events a legacy webhook of a family can have."""
_THROTTLED = 429
_SERVER_ERROR = 500


class HookApi:
    """Registers, changes, tests and looks into webhooks over the client's connections.

    Reads are repeated as all reads are; what changes something is called once.
    """

    def __init__(self, http: httpx.AsyncClient, reader: Reader) -> None:
        self._http = http
        self._reader = reader

    async def list_legacy(self) -> list[RegisteredWebhook]:
        """Fetch the legacy webhooks of the key's owner.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx.
            UnreadableEventError: A webhook without id or address.
        """
        answer = await self._reader.get("/v1/webhooks", [])
        return [parse_webhook(item) for item in items(answer.get("data"))]

    async def list_dated(self) -> list[RegisteredWebhook]:
        """Fetch the workspace's webhooks of 2026-03-30; at most 50, in one answer.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx; 404 from a host that has only v1.
            UnreadableEventError: A webhook without id or address.
        """
        pages = self._reader.pages(
            "/webhooks", [], sent="after", given="nextCursor", headers=DATED_VERSION
        )
        return [parse_webhook(item) async for item in pages]

    async def create_legacy(
        self, *, family: str, url: str, events: Sequence[str], label: str
    ) -> RegisteredWebhook:
        """Register a legacy webhook, enabled; its key is in the answer.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer; it may have been made all the same.
            OpenPhoneRefusedError: Any other 4xx.
            UnreadableEventError: The answer holds no webhook.
        """
        body = {"url": url, "events": list(events), "resourceIds": ["*"], "label": label}
        answer = await self._call("POST", f"/v1/webhooks/{family}", body)
        return parse_webhook(answer.get("data"))

    async def create_dated(
        self, *, url: str, events: Sequence[str], label: str
    ) -> RegisteredWebhook:
        """Register a webhook of 2026-03-30, disabled: its key is to be saved first.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer; it may have been made all the same.
            OpenPhoneRefusedError: Any other 4xx.
            UnreadableEventError: The answer holds no webhook.
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
        """Change a webhook of 2026-03-30; ``events`` and ``resourceIds`` replace.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer.
            OpenPhoneRefusedError: Any other 4xx.
        """
        await self._call("PATCH", _path(webhook_id), changes, DATED_VERSION)

    async def rotate(self, webhook_id: str) -> str | None:
        """Let the provider make a new key, which it shows this once; None if it shows none.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer; there may be a new key all the same.
            OpenPhoneRefusedError: Any other 4xx.
        """
        answer = await self._call("POST", _path(webhook_id, "rotate"), None, DATED_VERSION)
        return first_text(mapping(answer.get("data")).get("key"), answer.get("key"))

    async def delete(self, webhook_id: str, *, is_dated: bool) -> None:
        """Remove a webhook; one that is gone already is as good.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer.
            OpenPhoneRefusedError: Any other 4xx but 404.
        """
        path = _path(webhook_id) if is_dated else "/v1" + _path(webhook_id)
        try:
            await self._call("DELETE", path, None, DATED_VERSION if is_dated else None)
        except OpenPhoneRefusedError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    async def send_test(self, webhook_id: str, event_type: str) -> str | None:
        """Let the provider deliver its signed sample; the sample's event id, when it tells.

        The id is the same for each sample of a type.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer.
            OpenPhoneRefusedError: Any other 4xx.
        """
        path = _path(webhook_id, "events", "test")
        answer = await self._call("POST", path, {"eventType": event_type}, DATED_VERSION)
        return first_text(answer.get("id"), mapping(answer.get("data")).get("id"))

    async def deliveries(
        self, webhook_id: str, *, status: str, after: datetime
    ) -> AsyncIterator[HookDelivery]:
        """Fetch the log of a webhook's deliveries, newest first, to the last page.

        Args:
            status: ``success``, ``pending`` (not tried), ``sending`` (between tries) or ``failed``.
            after: Of those dispatched later than this.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx.
            OpenPhoneListError: It does not come to an end.
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
        """Fetch one delivery with its attempts, the last one first; None when it has no id.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer, also after the repeats.
            OpenPhoneRefusedError: Any other 4xx; 404 when there is none.
        """
        path = _path(webhook_id, "events", delivery_id)
        answer = await self._reader.get(path, [], headers=DATED_VERSION)
        return _delivery(answer.get("data"))

    async def retry(self, webhook_id: str, delivery_id: str) -> None:
        """Ask for a delivery to be made again; it comes later, by the webhook.

        Raises:
            OpenPhoneBusyError: 429, 5xx or no answer.
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
        try:
            response = await self._http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise OpenPhoneBusyError(
                f"No answer from OpenPhone: {type(error).__name__}."
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise OpenPhoneBusyError("OpenPhone's answer broke off.") from error
        if response.is_success:
            return mapping(read_json(response))
        problem = parse_problem(response.status_code, read_json(response))
        sentence = f"OpenPhone answered {response.status_code}: {problem.detail}"
        if response.status_code == _THROTTLED or response.status_code >= _SERVER_ERROR:
            raise OpenPhoneBusyError(sentence)
        raise OpenPhoneRefusedError(
            sentence, status=response.status_code, provider_code=problem.code
        )


def _path(webhook_id: str, *more: str) -> str:
    return "/".join(
        ["/webhooks", quote(webhook_id, safe=""), *(quote(one, safe="") for one in more)]
    )


def _delivery(item: object) -> HookDelivery | None:
    """Read an entry of the log; one without an id cannot be asked for again."""
    told = mapping(item)
    delivery_id = text(told.get("id"))
    if delivery_id is None:
        return None
    body = mapping(told.get("requestBody"))
    resource = mapping(mapping(body.get("data")).get("resource"))
    return HookDelivery(
        delivery_id=delivery_id,
        event_id=first_text(told.get("eventId"), body.get("id")),
        resource_id=first_text(told.get("resourceId"), resource.get("id"), resource.get("callId")),
        event_type=text(told.get("eventType")),
        status=text(told.get("status")),
        created_at=instant(told.get("createdAt")),
        attempts=tuple(_attempt(mapping(one)) for one in items(told.get("attempts"))),
    )


def _attempt(told: Mapping[str, Any]) -> DeliveryAttempt:
    status = number(told.get("responseStatusCode"))
    return DeliveryAttempt(
        at=instant(told.get("timestamp")),
        status=text(told.get("status")),
        response_status=None if not status else int(status),
        url=text(told.get("url")),
    )

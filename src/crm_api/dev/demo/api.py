"""HTTP clients that the demo uses: one for the API, one for the controls of the sandbox."""

from collections.abc import Iterator
from typing import Any, Self

import httpx

from crm_api.dev.demo.service import DemoError, Service

JSON = dict[str, Any]
PAGE = 200
TIMEOUT_SECONDS = 30.0


class Api:
    """Client of the API, with the admin key; raises a ``DemoError`` for an error response."""

    def __init__(self, service: Service, *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(
            base_url=service.api_url,
            headers={"Authorization": f"Bearer {service.admin_key}"},
            timeout=TIMEOUT_SECONDS,
            transport=transport,
        )

    def __enter__(self) -> Self:
        """Return this client; the end of the block closes its connection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **query: str | int) -> JSON:
        """Return the response to a GET request.

        Raises:
            DemoError: The API responded with an error.
        """
        return _answer(self._http.get(path, params=query or None))

    def post(self, path: str, body: JSON | None = None) -> JSON:
        """Send a POST request; return the JSON of the response, or ``{}`` if it has no body.

        Raises:
            DemoError: The API responded with an error.
        """
        return _answer(self._http.post(path, json=body))

    def patch(self, path: str, body: JSON) -> JSON:
        """Send a PATCH request; return its response.

        Raises:
            DemoError: The API responded with an error.
        """
        return _answer(self._http.patch(path, json=body))

    def upload(self, path: str, *, name: str, content: bytes, fields: dict[str, str]) -> JSON:
        """Send a CSV file with form fields by POST; return the response.

        Raises:
            DemoError: The API responded with an error.
        """
        files = {"file": (name, content, "text/csv")}
        return _answer(self._http.post(path, files=files, data=fields))

    def pages(self, path: str) -> Iterator[JSON]:
        """Yield all items of a list, page by page; ``path`` may contain a query string."""
        cursor: str | None = None
        while True:
            query = f"limit={PAGE}" if cursor is None else f"limit={PAGE}&cursor={cursor}"
            page = self.get(f"{path}{'&' if '?' in path else '?'}{query}")
            yield from page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


class Sandbox:
    """Client of the sandbox, which simulates the provider and stores the accepted messages."""

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url
        self._transport = transport

    def lines(self) -> list[str]:
        """Return the ids of the sandbox's phone lines.

        Raises:
            DemoError: No sandbox answers at the URL.
        """
        try:
            banner = self._get("/sandbox")
            return [str(line["id"]) for line in banner["lines"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise DemoError(
                f"no sandbox answers at {self._url}. The demo runs only on the sandbox, because it "
                "must not send real messages; start it with `crm-api up`"
            ) from error

    def messages(self, *, after: int) -> list[JSON]:
        """Return the messages whose position (``seq``) is greater than ``after``, oldest first."""
        messages: list[JSON] = self._get("/sandbox/messages", after=after)["data"]
        return messages

    def last_position(self) -> int:
        """Return the position of the newest message; 0 if there are no messages."""
        messages = self.messages(after=0)
        return int(messages[-1]["seq"]) if messages else 0

    def stats(self) -> JSON:
        """Return the sandbox's counts: accepted messages, replies, opt-out replies and webhooks."""
        return self._get("/sandbox/stats")

    def _get(self, path: str, **query: int) -> JSON:
        with httpx.Client(transport=self._transport, timeout=TIMEOUT_SECONDS) as http:
            answer = http.get(f"{self._url}{path}", params=query)
        found: JSON = answer.raise_for_status().json()
        return found


def _answer(response: httpx.Response) -> JSON:
    if response.is_success:
        found: JSON = response.json() if response.content else {}
        return found
    request = response.request
    try:
        problem = response.json()
        fields = "; ".join(
            f"{one['pointer']}: {one['detail']}" for one in problem.get("errors", ())
        )
        reason = f"{problem['code']}: {fields or problem['detail']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = response.text[:200]
    raise DemoError(
        f"the API refused {request.method} {request.url.path} with status "
        f"{response.status_code} ({reason})"
    )

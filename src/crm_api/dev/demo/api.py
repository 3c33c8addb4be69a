"""HTTP clients of the demo: this service's API and the sandbox's controls."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from crm_api.dev.demo.service import DemoError, Service

JSON = dict[str, Any]
PAGE = 200
TIMEOUT_SECONDS = 30.0


class Api:
    """Client of the service, with an API key."""

    def __init__(self, service: Service, *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(
            base_url=service.api_url,
            headers={"Authorization": f"Bearer {service.admin_key}"},
            timeout=TIMEOUT_SECONDS,
            transport=transport,
        )

    def __enter__(self) -> Self:
        """Use the connection until the block ends."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **query: str | int) -> JSON:
        """Read one resource.

        Raises:
            DemoError: The API refuses the request.
        """
        return _answer(self._http.get(path, params=query))

    def post(self, path: str, body: JSON | None = None) -> JSON:
        """Create a resource or start an action.

        Raises:
            DemoError: The API refuses the request.
        """
        return _answer(self._http.post(path, json=body))

    def patch(self, path: str, body: JSON) -> JSON:
        """Change a resource.

        Raises:
            DemoError: The API refuses the request.
        """
        return _answer(self._http.patch(path, json=body))

    def upload(self, path: str, *, name: str, content: bytes, fields: dict[str, str]) -> JSON:
        """Send a file with form fields.

        Raises:
            DemoError: The API refuses the request.
        """
        files = {"file": (name, content, "text/csv")}
        return _answer(self._http.post(path, files=files, data=fields))

    def pages(self, path: str) -> Iterator[JSON]:
        """Yield every item of a list, page by page."""
        cursor: str | None = None
        while True:
            query: dict[str, str | int] = {"limit": PAGE}
            if cursor is not None:
                query["cursor"] = cursor
            page = self.get(path, **query)
            yield from page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


class Sandbox:
    """Client of the sandbox, which stands in for the provider and stores what it accepted."""

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url
        self._transport = transport

    def lines(self) -> list[str]:
        """Return the ids of its lines; this also proves that it is a sandbox.

        Raises:
            DemoError: No sandbox answers there.
        """
        try:
            banner = self._get("/sandbox")
            return [str(line["id"]) for line in banner["lines"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise DemoError(
                f"no sandbox answers at {self._url}: the demo runs only on the sandbox, "
                "because it must not send real messages"
            ) from error

    def messages(self, *, after: int) -> list[JSON]:
        """Return every message after this position, oldest first."""
        messages: list[JSON] = self._get("/sandbox/messages", after=after)["data"]
        return messages

    def last_position(self) -> int:
        """Return the position of the last message; 0 if there is none."""
        messages = self.messages(after=0)
        return int(messages[-1]["seq"]) if messages else 0

    def stats(self) -> JSON:
        """Return the sandbox's own counts."""
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
        f"{request.method} {request.url.path} answered {response.status_code} ({reason})"
    )

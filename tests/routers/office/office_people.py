"""Helpers for users of a running service, and for a screen that uses live events."""

import csv
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from tests.dev.test_up import Run

JSON = dict[str, Any]
T = TypeVar("T")
PASSWORD = "correct horse battery staple"  # noqa: S105 - made up
TIMEOUT_SECONDS = 30.0
PATIENCE_SECONDS = 90.0


def wait_for(read: Callable[[], T], is_right: Callable[[T], bool], what: str) -> T:
    """Call `read` until `is_right` accepts its value; fail after the time limit."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = read()
        if is_right(found):
            return found
        assert time.monotonic() < deadline, f"{what}: {found}"
        time.sleep(0.25)


class OfficeUser:
    """A user of the office who has signed in."""

    def __init__(self, url: str, name: str, token: str) -> None:
        self.name = name
        self.http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_SECONDS
        )
        self.id = str(self.get("/v1/auth/me")["id"])

    def close(self) -> None:
        self.http.close()

    def get(self, path: str, **query: Any) -> JSON:
        answer = self.http.get(path, params=query)
        assert answer.is_success, f"{path}: {answer.text}"
        found: JSON = answer.json()
        return found

    def send(self, method: str, path: str, body: object = None, *, status: int) -> JSON:
        answer = self.http.request(method, path, json=body)
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else {}

    def conversations(self, **query: Any) -> list[JSON]:
        """Return the conversations of all pages of the inbox."""
        found: list[JSON] = []
        cursor = None
        while True:
            more: JSON = {} if cursor is None else {"cursor": cursor}
            page = self.get("/v1/conversations", limit=100, **query, **more)
            found += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found


def invite(run: Run, name: str, *, role: str) -> OfficeUser:
    """Add a user, and return the user after sign-in."""
    email = f"{name.lower()}@granite.example.com"
    body = {"email": email, "name": name, "role": role}
    invited = run.call("POST", "/v1/users", body)
    assert invited.status_code == 201, invited.text
    token = invited.json()["invitation_token"]
    with httpx.Client(base_url=run.url, timeout=TIMEOUT_SECONDS) as http:
        accepted = http.post(
            "/v1/auth/invitations/accept", json={"token": token, "password": PASSWORD}
        )
        assert accepted.status_code == 200, accepted.text
        signed = http.post("/v1/auth/token", json={"username": email, "password": PASSWORD})
        assert signed.status_code == 200, signed.text
    return OfficeUser(run.url, name, signed.json()["access_token"])


def people_file(phones: list[str]) -> bytes:
    """Return a CSV file with a made-up name for each number."""
    target = io.StringIO()
    rows = csv.writer(target)
    rows.writerow(["Phone", "First Name", "Last Name"])
    rows.writerows([phone, f"Person{place}", "Example"] for place, phone in enumerate(phones))
    return target.getvalue().encode()


class Screen:
    """A client that reads the inbox once, and then only conversations that live events mention."""

    def __init__(self, user: OfficeUser) -> None:
        self._user = user
        self.shown = {one["id"]: one for one in user.conversations()}
        self._named: set[str] = set()
        self._subjects: set[str] = set()
        self._lock = threading.Lock()

    def note(self, event: JSON) -> None:
        conversation = event["data"].get("conversation_id")
        if event["type"] == "conversation.changed":
            conversation = event["subject_id"]
        with self._lock:
            self._subjects.add(event["subject_id"])
            if conversation is not None:
                self._named.add(conversation)

    def refresh(self) -> None:
        """Wait for all events until now, and read the conversations that they mention."""
        mark = self._user.send(
            "POST",
            "/v1/tasks",
            {"title": "Mark", "due_at": "2027-01-04T15:00:00Z"},
            status=201,
        )
        wait_for(lambda: mark["id"] in self._subjects, bool, "the event of the task")
        with self._lock:
            named, self._named = self._named, set()
        for conversation in named:
            self.shown[conversation] = self._user.get(f"/v1/conversations/{conversation}")


@contextmanager
def following(run: Run, user: OfficeUser) -> Iterator[Screen]:
    """Yield a screen that receives the live events until the ``with`` block ends."""
    screen: list[Screen] = []
    begun = threading.Event()
    ended = threading.Event()
    client = httpx.Client(base_url=run.url, timeout=httpx.Timeout(TIMEOUT_SECONDS, read=None))

    def follow() -> None:
        headers = dict(user.http.headers) | {"Accept": "text/event-stream"}
        try:
            with client.stream("GET", "/v1/events", headers=headers) as stream:
                screen.append(Screen(user))
                begun.set()
                for line in stream.iter_lines():
                    if line.startswith("data: "):
                        screen[0].note(json.loads(line.removeprefix("data: ")))
        except (httpx.HTTPError, RuntimeError):
            if not ended.is_set():
                raise

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert begun.wait(TIMEOUT_SECONDS), "the stream does not start"
    try:
        yield screen[0]
    finally:
        ended.set()
        client.close()
        thread.join(TIMEOUT_SECONDS)

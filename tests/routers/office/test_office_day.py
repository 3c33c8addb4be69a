"""Test of a day of an office with three users, one campaign, and people who reply.

The service runs as with `crm-api up`, with its own database and the sandbox.
"""

import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.dev.test_up import Run, up
from tests.free_ports import free_port
from tests.prepared_cluster import copy_cluster
from tests.routers.office.office_people import (
    JSON,
    OfficeUser,
    Screen,
    following,
    invite,
    people_file,
    wait_for,
)

PEOPLE = 600
REPLYING = range(0, PEOPLE, 6)[:90]
"""Positions of the people who reply.

They are spread over the list. Many opt-outs in a short time would pause the campaign.
"""
STOPPING = [place for at, place in enumerate(REPLYING) if at % 9 in {0, 4}]
WRONG = [place for at, place in enumerate(REPLYING) if at % 9 == 2]
ASKING = [place for at, place in enumerate(REPLYING) if at % 9 not in {0, 2, 4}]
LOST = ASKING[-1]
"""Position of the person whose delivery report and reply do not reach the service."""
BODY = "Hi {{ first_name }}, Granite Foundations. May we check your foundation? STOP to opt out."
AT_ANY_HOUR = {
    "schedule": {
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        "window": {"start": "00:00", "end": "24:00"},
        "timezone": "UTC",
    },
    "pacing": {
        "daily_limit": 2_000,
        "mode": "burst",
        "batch_size": 2_000,
        "batch_interval_minutes": 1,
    },
}


def phone(place: int) -> str:
    return f"+1617555{1000 + place}"


@pytest.fixture
def running() -> Iterator[Run]:
    folder = Path(tempfile.mkdtemp(prefix="crm-test-", dir="/tmp"))
    copy_cluster(folder / "data")
    with up(
        folder / "data",
        free_port(),
        CRM_COMPLIANCE_RULES="none",
        CRM_OPENPHONE_RATE_PER_SECOND="60",
        CRM_RATE_LIMIT_PER_SECOND="0",
    ) as run:
        sandbox = f"http://127.0.0.1:{run.port + 1}/sandbox/config"
        httpx.patch(sandbox, json={"rate_per_second": None}).raise_for_status()
        yield run
    shutil.rmtree(folder)


class Office:
    """The three users of the office, the screen of the third user, and the running service."""

    def __init__(self, run: Run, screen: Screen, users: list[OfficeUser]) -> None:
        self._run = run
        self._screen = screen
        self.olga, self.sam, self.ana = users
        self.users = users

    def admin(self, method: str, path: str, body: Any = None) -> JSON:
        answer = self._run.call(method, path, body)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else {}

    def settle(self) -> list[JSON]:
        """Wait until all messages from users are delivered; return these messages."""

        def read() -> list[JSON]:
            newest = self.olga.get("/v1/messages", direction="outgoing", limit=200)["data"]
            return [one for one in newest if one["origin"] == "manual"]

        return wait_for(
            read,
            lambda found: all(one["status"] == "delivered" for one in found),
            "all answers are delivered",
        )

    def check(self) -> None:
        """Check that the counts equal the lists, and that the screen equals a new read."""
        self.settle()
        for user in self.users:
            counts = user.get("/v1/conversations/counts")
            at_work = {"state": "waiting,open"}
            lists = {
                "waiting": {"state": "waiting"},
                "open": {"state": "open"},
                "snoozed": {"state": "snoozed"},
                "unread": {"unread": "true"} | at_work,
                "mine": {"assignee": "me"} | at_work,
                "unassigned": {"assignee": "none"} | at_work,
            }
            found = {name: len(user.conversations(**query)) for name, query in lists.items()}
            assert counts == found, user.name
        self._screen.refresh()
        fresh = {one["id"]: one for one in self.ana.conversations()}
        different = {
            (one["phone"], field): (self._screen.shown[name].get(field), value)
            for name, one in fresh.items()
            for field, value in one.items()
            if self._screen.shown[name].get(field) != value
        }
        assert not different
        assert self._screen.shown.keys() == fresh.keys()

    def of(self, place: int, user: OfficeUser | None = None) -> JSON:
        """Return the conversation with the person at this position."""
        (found,) = (user or self.olga).conversations(phone=phone(place))
        return found


def _answer(user: OfficeUser, conversation: JSON, body: str, **more: Any) -> httpx.Response:
    sent = {"line_id": conversation["line_id"], "to": conversation["phone"], "body": body}
    return user.http.post("/v1/messages", json=sent | more)


def _send_campaign(office: Office) -> None:
    line = min(office.admin("POST", "/v1/lines/sync")["data"], key=lambda one: one["number"])
    office.admin("PATCH", f"/v1/lines/{line['id']}", {"daily_limit": 2_000})
    file = ("people.csv", people_file([phone(place) for place in range(PEOPLE)]), "text/csv")
    answer = office.olga.http.post(
        "/v1/imports", files={"file": file}, data={"list_name": "Owners"}
    )
    assert answer.status_code == 202, answer.text
    done = wait_for(
        lambda: office.olga.get(f"/v1/imports/{answer.json()['id']}"),
        lambda one: one["status"] == "completed",
        "the import ends",
    )
    campaign = office.olga.send(
        "POST",
        "/v1/campaigns",
        {
            "name": "Owners in December",
            "line_id": line["id"],
            "audience": {"list_id": done["list_id"]},
            "variants": [{"name": "A", "weight": 100, "body": BODY}],
        }
        | AT_ANY_HOUR,
        status=201,
    )
    office.olga.send("POST", f"/v1/campaigns/{campaign['id']}/start", status=200)
    wait_for(
        lambda: office.olga.get(f"/v1/campaigns/{campaign['id']}/stats"),
        lambda one: (
            one["replied"] == len(REPLYING) - 1 and one["by_status"]["delivered"] == PEOPLE - 1
        ),
        "all messages are delivered and all replies are there",
    )


def _script_people(office: Office) -> None:
    """Set in the sandbox which people reply to the campaign, and what they write."""
    words = dict.fromkeys(STOPPING, "STOP") | dict.fromkeys(ASKING, "Yes, when can you come?")
    words |= dict.fromkeys(WRONG, "Wrong number, I sold that house")
    office.admin("POST", "/v1/sandbox/people", {"phone": "*", "behaviour": "silent"})
    for place, text in words.items():
        script = [{"do": "deliver"}, {"do": "reply", "after": "PT2S", "text": text}]
        office.admin("POST", "/v1/sandbox/people", {"phone": phone(place), "script": script})


def _race(office: Office) -> None:
    """Let two users answer one conversation, and assign another one, at the same moment."""
    first, second = office.of(ASKING[0]), office.of(ASKING[1])
    barrier = threading.Barrier(2)
    answers: dict[str, list[httpx.Response]] = {"answer": [], "take": []}

    def act(user: OfficeUser) -> None:
        barrier.wait()
        answers["answer"].append(_answer(user, first, f"{user.name} comes on Tuesday."))
        barrier.wait()
        taken = user.http.patch(f"/v1/conversations/{second['id']}", json={"assignee_id": user.id})
        answers["take"].append(taken)

    threads = [threading.Thread(target=act, args=[user]) for user in (office.olga, office.sam)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = {}
    for name, good in (("answer", 202), ("take", 200)):
        codes = {one.status_code: one.json() for one in answers[name]}
        assert sorted(codes) == [good, 409], name
        refused[name] = codes[409]
        won = codes[good]
    assert refused["answer"]["code"] == "answered_meanwhile"
    assert "comes on Tuesday." in str(refused["answer"])
    assert refused["take"]["code"] == "conversation_taken"
    assert won["assignee"]["name"] in str(refused["take"])


DRAFTED = ASKING[2:6]


def _write_drafts(office: Office) -> None:
    for user in (office.olga, office.sam):
        for place in DRAFTED:
            conversation = office.of(place)
            path = f"/v1/conversations/{conversation['id']}/draft"
            user.send("PUT", path, {"body": f"{user.name} to {conversation['phone']}"}, status=200)


def _check_drafts(office: Office, sent: set[tuple[str, int]]) -> None:
    """Check that each user sees only the own draft of a conversation, until it is sent."""
    for user in office.users:
        for place in ASKING:
            conversation = office.of(place, user)
            expected = None
            if user is not office.ana and place in DRAFTED:
                expected = f"{user.name} to {conversation['phone']}"
            if (user.name, place) in sent:
                expected = None
            draft = user.get(f"/v1/conversations/{conversation['id']}/draft")
            assert (draft["body"], conversation["has_draft"]) == (expected, expected is not None)


def _snooze(office: Office, place: int) -> None:
    conversation = office.of(place)
    path = f"/v1/conversations/{conversation['id']}"
    now = office.admin("GET", "/v1/sandbox/clock")["now"]
    office.olga.send("PATCH", path, {"snoozed_until": now}, status=422)
    later = (datetime.fromisoformat(now) + timedelta(minutes=30)).isoformat()
    changed = office.olga.send("PATCH", path, {"snoozed_until": later}, status=200)
    assert (changed["state"], changed["waiting_since"]) == (
        "snoozed",
        conversation["waiting_since"],
    )
    office.check()
    office.admin("POST", "/v1/sandbox/clock", {"advance": "PT1H"})
    woken = wait_for(
        lambda: office.of(place), lambda one: one["state"] == "waiting", "the snooze ends"
    )
    assert (woken["waiting_since"], woken["snoozed_until"]) == (conversation["waiting_since"], None)


@pytest.mark.timeout(600)
def test_day_of_an_office(running: Run) -> None:
    with ExitStack() as stack:
        users = [invite(running, name, role="manager") for name in ("Olga", "Sam", "Ana")]
        for user in users:
            stack.callback(user.close)
        screen = stack.enter_context(following(running, users[2]))
        office = Office(running, screen, users)
        _script_people(office)
        office.admin(
            "POST", "/v1/sandbox/faults", {"kind": "webhook_lost", "phone": phone(LOST), "count": 2}
        )
        _send_campaign(office)
        # From now on, people do not reply to the answers of the users.
        office.admin("DELETE", "/v1/sandbox/people")
        office.admin("POST", "/v1/sandbox/people", {"phone": "*", "behaviour": "silent"})
        waiting = len(WRONG) + len(ASKING) - 1
        states = Counter(one["state"] for one in office.olga.conversations())
        assert states == {"waiting": waiting, "done": PEOPLE - waiting}
        office.check()

        _race(office)
        office.check()

        _write_drafts(office)
        _check_drafts(office, set())
        assert _answer(office.olga, office.of(ASKING[2]), "On Friday.").status_code == 202
        _check_drafts(office, {("Olga", ASKING[2])})
        office.check()

        for place in WRONG:
            conversation = office.of(place)
            office.sam.send("POST", f"/v1/conversations/{conversation['id']}/read", status=204)
            office.sam.send(
                "PUT",
                f"/v1/messages/{conversation['last_message']['id']}/reply-class",
                {"class": "wrong_number"},
                status=200,
            )
            office.sam.send(
                "PATCH", f"/v1/conversations/{conversation['id']}", {"state": "done"}, status=200
            )
        assert len(office.ana.conversations(flag="invalid_number")) == len(WRONG)
        office.check()

        office.admin("POST", "/v1/reconciliation-runs")
        found = wait_for(
            lambda: office.of(LOST), lambda one: one["state"] == "waiting", "the lost reply waits"
        )
        assert found["last_message"]["direction"] == "incoming"
        office.check()

        _snooze(office, ASKING[3])
        office.check()

        for place in ASKING[1:2] + ASKING[3:]:
            answer = _answer(office.ana, office.of(place), f"Thank you, we call you. {place}")
            assert answer.status_code == 202, answer.text
        for place in STOPPING:
            assert _answer(office.ana, office.of(place), "Are you sure?").status_code == 409
        assert office.olga.get("/v1/conversations/counts")["waiting"] == 0
        office.check()

        written = office.settle()
        manual = Counter(one["phone"] for one in written)
        assert manual == {phone(place): 1 for place in ASKING}
        office.check()

"""Run two weeks of a campaign in a few minutes, through the public API of real processes.

The send times are read from the sandbox's log, because the sandbox replaces the provider.
"""

import json
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from tests.dev.test_up import Run, stop, up, wait_until
from tests.free_ports import free_port
from tests.prepared_cluster import copy_cluster

from crm_api.domain.monitoring.sandbox_control.schemas import write_duration

ZONE = ZoneInfo("America/New_York")


def _monday_before_the_clock_change(year: int) -> datetime:
    first = datetime(year, 3, 1, 8, tzinfo=ZONE)
    sunday = first + timedelta(days=6 - first.weekday() + 7)
    return sunday - timedelta(days=6)


START = _monday_before_the_clock_change(datetime.now(ZONE).year + 3)
"""A Monday at 8:00 in New York. On the Sunday after it, the clocks in New York are set forward."""
PEOPLE = [f"+1617555{number:04d}" for number in range(110, 122)]
STOPS, ANSWERS, CALLS, LANDLINE = PEOPLE[:4]
FIRST, SECOND, THIRD = (
    "Granite Foundations here: may we look at your house? Reply STOP to opt out.",
    "Shall we call you?",
    "Last word from us.",
)
SECONDS = 400.0
"""Time limit: longer than a move of the clock takes on two busy processor cores."""
pytestmark = pytest.mark.timeout(SECONDS + 60)


@pytest.fixture(scope="module")
def service() -> Iterator[Run]:
    root = Path(tempfile.mkdtemp(prefix="crm-test-", dir="/tmp"))
    copy_cluster(root / "data")
    with up(
        root / "data",
        free_port(),
        CRM_SANDBOX_CLOCK=START.isoformat(),
        CRM_COMPLIANCE_RULES="us",
        CRM_BUSINESS_NAME="Granite Foundations",
    ) as run:
        yield run
        stop(run, run.process.terminate)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def http(service: Run) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {service.admin_key}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=SECONDS) as http:
        yield http


@dataclass
class Integrator:
    """The events that the webhook endpoint of an integrator received.

    ``refused`` is the number of events whose signature was not valid by the real clock.
    """

    url: str = ""
    secret: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0


@pytest.fixture(scope="module")
def integrator() -> Iterator[Integrator]:
    received = Integrator()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                Webhook(received.secret).verify(body, dict(self.headers))
            except WebhookVerificationError:
                received.refused += 1
            received.bodies.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        received.url = f"http://127.0.0.1:{server.server_address[1]}/"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield received
        server.shutdown()


def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def wait_until_clock_arrived(http: httpx.Client) -> Any:
    for _ in range(int(SECONDS / 60)):
        clock = done(http.get("/v1/sandbox/clock", params={"wait": 60}))
        if clock["status"] == "still":
            return clock
    raise AssertionError(clock)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture(scope="module")
def campaign(http: httpx.Client, integrator: Integrator) -> Any:
    """Start a campaign with two follow-ups, and move the clock two weeks forward."""
    hook = {"url": integrator.url, "event_types": ["message.received", "opt_out"]}
    integrator.secret = done(http.post("/v1/webhook-endpoints", json=hook))["secret"]
    scripts: dict[str, Any] = {
        "*": [{"do": "deliver"}],
        STOPS: [{"do": "deliver"}, {"do": "reply", "text": "STOP", "after": "PT2H", "on_text": 1}],
        ANSWERS: [{"do": "deliver"}, {"do": "reply", "text": "Yes", "after": "P1D", "on_text": 2}],
        CALLS: [{"do": "deliver"}, {"do": "call", "after": "PT30M", "on_text": 1}],
        LANDLINE: [{"do": "fail", "error_code": "30006"}],
    }
    for phone, script in scripts.items():
        done(http.post("/v1/sandbox/people", json={"phone": phone, "script": script}))
    done(http.post("/v1/sandbox/faults", json={"kind": "500_after", "count": 1}))
    contacts = [done(http.post("/v1/contacts", json={"phone": phone})) for phone in PEOPLE]
    lines = done(http.post("/v1/lines/sync"))["data"]
    wanted = {
        "name": "Spring",
        "line_id": next(line["id"] for line in lines if line["number"] == "+16175550100"),
        "audience": {"contact_ids": [contact["id"] for contact in contacts]},
        "variants": [{"name": "A", "body": FIRST, "weight": 100}],
        "pacing": {"daily_limit": 5},
        "rules": {"max_opt_out_rate": None, "max_failure_rate": None},
        "follow_ups": [
            {"after_hours": 72, "body": SECOND},
            {"after_hours": 144, "body": THIRD},
        ],
    }
    made = done(http.post("/v1/campaigns", json=wanted))
    done(http.post(f"/v1/campaigns/{made['id']}/start"))
    answer = http.post("/v1/sandbox/clock", json={"advance": "P14D"})
    assert answer.status_code == 202, answer.text
    wait_until_clock_arrived(http)
    return done(http.get(f"/v1/campaigns/{made['id']}"))


@pytest.fixture(scope="module")
def sent_messages(service: Run, campaign: Any) -> list[dict[str, Any]]:
    """Return the messages that the sandbox accepted, in the order in which it accepted them."""
    assert campaign["status"] == "completed"
    answer = httpx.get(
        f"http://127.0.0.1:{service.port + 1}/sandbox/messages?direction=outgoing", timeout=20
    )
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_every_recipient_got_the_right_messages_once(sent_messages: list[dict[str, Any]]) -> None:
    texts = Counter((one["to"][0], one["text"]) for one in sent_messages)

    both = {STOPS, ANSWERS, CALLS, LANDLINE}
    expected = {(phone, FIRST) for phone in PEOPLE}
    expected |= {(phone, text) for phone in PEOPLE if phone not in both for text in (SECOND, THIRD)}
    expected |= {(ANSWERS, SECOND)}
    assert set(texts) - {(CALLS, SECOND), (CALLS, THIRD)} == expected
    assert set(texts.values()) == {1}


def test_every_message_was_sent_in_legal_hours(sent_messages: list[dict[str, Any]]) -> None:
    local = [instant(one["createdAt"]).astimezone(ZONE) for one in sent_messages]

    assert all(9 <= at.hour < 18 for at in local)
    assert {at.utcoffset() for at in local} == {timedelta(hours=-5), timedelta(hours=-4)}


def test_daily_limit_was_kept(sent_messages: list[dict[str, Any]]) -> None:
    days = Counter(instant(one["createdAt"]).astimezone(ZONE).date() for one in sent_messages)

    assert max(days.values()) == 5


def test_follow_ups_were_sent_after_their_hours(sent_messages: list[dict[str, Any]]) -> None:
    sent = {(one["to"][0], one["text"]): instant(one["createdAt"]) for one in sent_messages}
    waits = [
        sent[phone, SECOND] - at
        for (phone, text), at in sent.items()
        if text == FIRST and (phone, SECOND) in sent
    ]

    assert min(waits) >= timedelta(hours=72)
    assert max(waits) < timedelta(hours=72 + 48)


def test_service_and_provider_have_the_same_facts(
    http: httpx.Client, campaign: Any, sent_messages: list[dict[str, Any]]
) -> None:
    stats = done(http.get(f"/v1/campaigns/{campaign['id']}/stats"))
    assert stats["by_status"]["failed"] == 1
    assert stats["by_status"]["delivered"] == len(PEOPLE) - 1
    assert (stats["replied"], stats["opted_out"]) == (2, 1)
    contact = done(http.get(f"/v1/contacts/by-phone/{STOPS}"))
    assert contact["opted_out"] is True
    history = done(http.get(f"/v1/contacts/{contact['id']}/consent-history"))["data"]
    first = next(instant(one["createdAt"]) for one in sent_messages if one["to"] == [STOPS])
    delay = instant(history[0]["created_at"]) - first
    assert timedelta(hours=2) <= delay < timedelta(hours=3)


def test_integrators_got_all_events_with_valid_signatures(
    campaign: Any, integrator: Integrator
) -> None:
    assert campaign["status"] == "completed"
    types = Counter(body["type"] for body in integrator.bodies)
    months = {body["timestamp"][:7] for body in integrator.bodies}

    assert (types, integrator.refused) == ({"message.received": 2, "opt_out": 1}, 0)
    assert months == {f"{START:%Y-%m}"}


def test_service_is_healthy_after_the_clock_move(http: httpx.Client, campaign: Any) -> None:
    assert campaign["status"] == "completed"
    checks = http.get("/readyz").json()["checks"]
    assert checks == dict.fromkeys(checks, "ok")
    alerts = {one["kind"] for one in done(http.get("/v1/alerts"))["data"]}
    assert alerts - {"disk_low"} == set(), "the disk of this machine may be almost full"
    runs = done(http.get("/v1/reconciliation-runs"))["data"]
    assert {run["trigger"] for run in runs} <= {"daily", "import"}


def test_every_job_ran_at_its_scheduled_time(http: httpx.Client, campaign: Any) -> None:
    assert campaign["status"] == "completed"
    runs = done(http.get("/v1/reconciliation-runs"))["data"]
    made = [instant(run["created_at"]) for run in runs]
    checks = done(http.get("/v1/webhook-health-checks", params={"limit": 100}))["data"]
    looks = sorted(instant(one["created_at"]) for one in checks if one["side"] == "silence")

    assert {(at.hour, at.minute) for at in made} == {(2, 0)}
    assert len({at.date() for at in made}) == 14
    waits = [later - earlier for earlier, later in pairwise(looks)]
    assert max(waits) < timedelta(minutes=61)


def test_second_clock_move_and_move_into_the_past_are_refused(
    http: httpx.Client, campaign: Any
) -> None:
    assert campaign["status"] == "completed"
    before = done(http.get("/v1/sandbox/clock"))
    back = http.post("/v1/sandbox/clock", json={"to": START.isoformat()})
    first = http.post("/v1/sandbox/clock", json={"advance": "P2D"})
    second = http.post("/v1/sandbox/clock", json={"advance": "PT1H"})
    after = wait_until_clock_arrived(http)

    assert (back.status_code, back.json()["code"]) == (422, "clock_goes_forward")
    assert first.status_code == 202
    assert (second.status_code, second.json()["code"]) == (409, "clock_moves")
    assert second.json()["to"] == first.json()["move"]["to_at"]
    moved = instant(after["now"]) - instant(before["now"])
    assert timedelta(days=2) <= moved < timedelta(days=2, minutes=2)


def test_restarted_sandbox_has_the_moved_time(
    service: Run, http: httpx.Client, campaign: Any
) -> None:
    assert campaign["status"] == "completed"
    for process in service.processes_of("sandbox"):
        process.kill()
    ahead = done(http.get("/v1/sandbox/clock"))["ahead"]

    def has_moved_time() -> bool:
        with suppress(httpx.HTTPError):
            clock = httpx.get(f"http://127.0.0.1:{service.port + 1}/sandbox/clock").json()
            return write_duration(timedelta(seconds=clock["shift_seconds"])) == str(ahead)
        return False

    wait_until(has_moved_time, SECONDS)

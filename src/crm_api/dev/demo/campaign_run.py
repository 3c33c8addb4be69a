"""Run the demo's campaign over the API, from the upload of the file to the last reply."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from crm_api.dev.demo import figures
from crm_api.dev.demo.api import JSON, Api, Sandbox
from crm_api.dev.demo.figures import Check, FigureCheck, Snapshot
from crm_api.dev.demo.screen import Screen
from crm_api.dev.demo.service import DemoError
from crm_api.dev.demo.story import compare_figures, play_story

OPT_OUTS = 5
"""Number of contacts that the demo opts out before the campaign starts, to show that they get no
message."""
POLL_SECONDS = 1.0
STALL_SECONDS = 150.0
"""If there is no progress for this time, the demo fails. The time is longer than a minute, because
the jobs of the service run every minute."""
SETTLE_SECONDS = 30.0
"""Longest wait for replies and delivery reports after all messages are sent. Simulated people reply
within 8 seconds."""
ROOM = 1_000
"""If the demo raises a daily limit, the limit allows one message for each contact, and this number
of further messages."""
LARGEST_BATCH = 100_000
"""Largest batch size of a campaign that the API accepts."""
VARIANT_BODIES = {
    "A": 'Hi {{ first_name | default: "there" }}, this is Granite Foundations. May we do a free '
    'foundation check at {{ attributes.property_address | default: "your home" }}? ',
    "B": "Granite Foundations offers neighbors a free foundation check this week. Interested, "
    '{{ first_name | default: "neighbor" }}? ',
}


@dataclass(frozen=True)
class Upload:
    """The CSV file to import: its name and its content."""

    name: str
    content: bytes


def run(api: Api, sandbox: Sandbox, upload: Upload, screen: Screen, *, now: datetime) -> bool:
    """Run the whole demo; return whether it ended well.

    It ended well if three conditions are true:

    - The API's ``stats``, the list of recipients and the sandbox have the same counts.
    - The values of each ``FigureCheck`` agree.
    - All recipients have a final status.

    Raises:
        DemoError: The API refuses a request, or there is no progress for ``STALL_SECONDS``.
    """
    line = _line(api, sandbox)
    list_id = _import(api, upload, screen, name=f"Demo {now:%Y-%m-%d %H:%M:%S}")
    _opt_some_out(api, list_id, screen)
    contacts = int(api.get(f"/v1/lists/{list_id}")["contact_count"])
    _make_room(api, line, contacts, screen)
    mark = f"Ref {now:%d%H%M%S}."
    wanted = _campaign(line["id"], list_id, contacts, mark=mark, now=now)
    campaign_id = api.post("/v1/campaigns", wanted)["id"]
    position, stops = sandbox.last_position(), int(sandbox.stats()["stops"])
    if position:
        screen.step(
            "the sandbox has messages of an earlier run; people reply only to their first message"
        )

    def look() -> Snapshot:
        messages = sandbox.messages(after=position)
        now_stopped = int(sandbox.stats()["stops"]) - stops
        return _look(api, campaign_id, messages, mark=mark, stops=now_stopped)

    began = time.monotonic()
    api.post(f"/v1/campaigns/{campaign_id}/start")
    screen.step(f"started the campaign {campaign_id}; the worker sends its messages")
    try:
        _follow(api, campaign_id, screen)
        sent_seconds = time.monotonic() - began
        screen.step("all messages are sent; waiting for the last delivery reports and replies")
        snapshot, checks = _settle(look, sandbox)
    except KeyboardInterrupt:
        # The API refuses to cancel a campaign that has just finished.
        with suppress(DemoError):
            api.post(f"/v1/campaigns/{campaign_id}/cancel")
            screen.step("interrupted; the campaign was cancelled")
        raise
    earned = _earn(api, campaign_id, snapshot, screen)
    screen.result(_rows(snapshot, sent_seconds, screen.seconds), checks)
    screen.figures(earned)
    agree = all(check.agrees for check in checks) and all(one.agrees for one in earned)
    return agree and not figures.waiting(snapshot.stats)


def _line(api: Api, sandbox: Sandbox) -> JSON:
    """Return the phone line to send from.

    A service with a line that the sandbox does not have could send real messages. The demo refuses
    such a service.

    Raises:
        DemoError: The service has no line of the sandbox, or also has other lines.
    """
    own = set(sandbox.lines())
    found: list[JSON] = api.post("/v1/lines/sync")["data"]
    ours = [line for line in found if line["phone_number_id"] in own]
    if not ours or len(ours) != len(found):
        raise DemoError(
            "the service has lines that are not the sandbox's. The demo runs only on the sandbox, "
            "because it must not send real messages; use a service without CRM_OPENPHONE_API_KEY"
        )
    return min(ours, key=lambda line: str(line["phone_number_id"]))


def _make_room(api: Api, line: JSON, contacts: int, screen: Screen) -> None:
    """If the line's daily limit is too low for a message to each contact today, raise the limit."""
    limit = int(line["sent_today"]) + contacts + ROOM
    if limit > line["daily_limit"]:
        api.patch(f"/v1/lines/{line['id']}", {"daily_limit": limit})
        screen.step(
            f"raised the daily limit of the line {line['number']} from {line['daily_limit']} to "
            f"{limit} messages"
        )


def _import(api: Api, upload: Upload, screen: Screen, *, name: str) -> str:
    """Import the file into a new list; when the import has finished, return the list's id.

    Raises:
        DemoError: The import failed, or there is no progress for ``STALL_SECONDS``.
    """
    made = api.upload(
        "/v1/imports", name=upload.name, content=upload.content, fields={"list_name": name}
    )
    screen.step(f"uploaded {upload.name} ({len(upload.content):,} bytes) to the list {name!r}")
    path = f"/v1/imports/{made['id']}"
    watch = _Watch("the import")
    with screen.bars({"rows": 0}) as bars:
        while True:
            now = api.get(path)
            watch.update(now["rows_processed"], now["status"])
            bars.show({"rows": int(now["rows_processed"])}, total=now["rows_total"])
            if now["status"] not in {"pending", "running"}:
                break
            time.sleep(POLL_SECONDS / 4)
    if now["status"] != "completed":
        raise DemoError(
            f"the import ended with the status {now['status']} ({now['error']}); correct the file "
            "and run the demo again"
        )
    counts = ("created", "updated", "unchanged", "duplicates_in_file", "invalid")
    summary = ", ".join(f"{now[count]} {count.replace('_', ' ')}" for count in counts)
    screen.step(
        f"imported {now['rows_total']} rows in the format {now['detected_format']}: {summary}"
    )
    return str(now["list_id"])


def _opt_some_out(api: Api, list_id: str, screen: Screen) -> None:
    members = api.pages(f"/v1/lists/{list_id}/contacts")
    chosen = list(islice((one for one in members if not one["opted_out"]), OPT_OUTS))
    for contact in chosen:
        api.post(f"/v1/contacts/{contact['id']}/opt-out", {"reason": "asked on the phone"})
    screen.step(f"opted out {len(chosen)} contacts before the start; they must get no message")


def _campaign(line_id: str, list_id: str, contacts: int, *, mark: str, now: datetime) -> JSON:
    """Return the request body for a campaign that sends at any hour, as fast as possible.

    Args:
        mark: Text in every message, by which the demo finds the campaign's messages in the sandbox.
        now: The time in the name of the campaign.
    """
    return {
        "name": f"Demo {now:%Y-%m-%d %H:%M:%S}",
        "line_id": line_id,
        "audience": {"list_id": list_id},
        "variants": [
            {"name": name, "weight": 50, "body": f"{body}{mark} Reply STOP to opt out."}
            for name, body in VARIANT_BODIES.items()
        ],
        "schedule": {
            "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
            "window": {"start": "00:00", "end": "24:00"},
        },
        "pacing": {
            "daily_limit": contacts + ROOM,
            "mode": "burst",
            "batch_size": min(contacts + ROOM, LARGEST_BATCH),
            "batch_interval_minutes": 1,
        },
    }


def _follow(api: Api, campaign_id: str, screen: Screen) -> None:
    """Show the campaign's progress until every recipient has a final status.

    Raises:
        DemoError: The campaign was stopped, or there is no progress for ``STALL_SECONDS``.
    """
    path = f"/v1/campaigns/{campaign_id}"
    watch = _Watch("the campaign")
    while api.get(path)["status"] == "scheduled":
        watch.update("scheduled")
        time.sleep(POLL_SECONDS / 4)
    stats = api.get(f"{path}/stats")
    eligible = int(stats["recipients_total"]) - int(stats["by_status"]["skipped"])
    with screen.bars(dict.fromkeys(_moving(stats), eligible)) as bars:
        while True:
            watch.update(stats["by_status"])
            is_last = figures.waiting(stats) == 0
            bars.show(_moving(stats), is_last=is_last)
            if is_last:
                return
            time.sleep(POLL_SECONDS)
            stats = api.get(f"{path}/stats")
            _refuse_stopped(api.get(path))


def _moving(stats: JSON) -> dict[str, int]:
    return {
        "sent": figures.was_sent(stats),
        "delivered": int(stats["by_status"]["delivered"]),
        "replied": int(stats["replied"]),
        "opted out": int(stats["opted_out"]),
        "failed": int(stats["by_status"]["failed"]),
    }


def _refuse_stopped(campaign: JSON) -> None:
    if campaign["status"] in {"paused", "blocked", "cancelled"}:
        reason = campaign["blocked_reason"] or campaign["paused_reason"] or "no reason given"
        raise DemoError(
            f"the campaign is {campaign['status']} ({reason}), so the demo cannot continue; see "
            "the worker's log"
        )


def _settle(look: Callable[[], Snapshot], sandbox: Sandbox) -> tuple[Snapshot, list[Check]]:
    """Wait until the sandbox has no planned event, and the counts of the campaign agree.

    The counts come from three sources: the API's ``stats``, the list of recipients, and the
    sandbox. After ``SETTLE_SECONDS``, return even if the counts differ.

    Returns:
        The data of the last comparison, and the compared counts.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        is_quiet = not sandbox.stats()["webhooks"]["scheduled"]
        snapshot = look()
        checks = figures.compare(snapshot)
        if time.monotonic() > deadline or (is_quiet and all(check.agrees for check in checks)):
            return snapshot, checks
        time.sleep(POLL_SECONDS)


def _look(api: Api, campaign_id: str, messages: list[JSON], *, mark: str, stops: int) -> Snapshot:
    outgoing = (message for message in messages if message["direction"] == "outgoing")
    return Snapshot(
        stats=api.get(f"/v1/campaigns/{campaign_id}/stats"),
        recipients=list(api.pages(f"/v1/campaigns/{campaign_id}/recipients")),
        texts=[message for message in outgoing if mark in message["text"]],
        answers=[message for message in messages if message["direction"] == "incoming"],
        stops=stops,
    )


def _earn(api: Api, campaign_id: str, snapshot: Snapshot, screen: Screen) -> list[FigureCheck]:
    """Record appointments, quotes and jobs, and return the figures of the campaign.

    The demo records appointments, quotes and jobs only for people whose replies show interest. For
    each figure, the numerator is read from up to three sources. All values are returned, so that
    the caller can compare them.
    """
    rows = int(snapshot.stats["recipients_total"])
    story = play_story(api, campaign_id=campaign_id, rows=rows)
    counts = story.counts
    screen.step(
        f"{story.people} people were interested; recorded {counts['appointments']} appointments, "
        f"{counts['quotes']} quotes and {counts['jobs']} paid jobs"
    )
    replied = int(snapshot.stats["replied"])
    return compare_figures(api, story, campaign_id=campaign_id, replied=replied)


def _rows(snapshot: Snapshot, sent_seconds: float, whole_seconds: float) -> list[tuple[str, str]]:
    by_status = snapshot.stats["by_status"]
    sent = figures.was_sent(snapshot.stats)
    skipped = [
        (f"skipped: {reason}", str(count))
        for reason, count in sorted(figures.skip_reasons(snapshot.recipients).items())
    ]
    variants = [
        (f"variant {one['name']}", f"{one['replied']} replies from {one['recipients']}")
        for one in snapshot.stats["variants"]
    ]
    return [
        ("recipients", str(snapshot.stats["recipients_total"])),
        ("sent", str(sent)),
        ("delivered", str(by_status["delivered"])),
        ("replied", str(snapshot.stats["replied"])),
        ("opted out", str(snapshot.stats["opted_out"])),
        ("failed", str(by_status["failed"])),
        *skipped,
        *variants,
        (
            "sending took",
            f"{sent_seconds:.0f} s ({sent / max(sent_seconds, 1):.1f} messages per second)",
        ),
        ("the whole demo took", f"{whole_seconds:.0f} s"),
    ]


class _Watch:
    """Detects that work makes no progress."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last: object = None
        self._moved_at = time.monotonic()

    def update(self, *state: object) -> None:
        """Compare ``state`` with the state of the previous update, to find out if work progresses.

        Args:
            *state: Values that change when there is progress, such as the number of processed rows.

        Raises:
            DemoError: The state has not changed for ``STALL_SECONDS``.
        """
        if state != self._last:
            self._last, self._moved_at = state, time.monotonic()
        elif time.monotonic() - self._moved_at > STALL_SECONDS:
            raise DemoError(
                f"{self._name} has made no progress for {STALL_SECONDS:.0f} s; see the worker's "
                "log and GET /readyz"
            )

"""The checks, one per invariant; each reads the final state, and can fail.

The numbers are those of the invariants in ARCHITECTURE.md: "I4" is Invariant 4.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from redis.asyncio import Redis
from sqlalchemy import Row, text
from tests.chaos.decisions import Decided
from tests.chaos.ledger import Step, Subject, read_steps
from tests.chaos.stage import LINE_CAP, Stage
from tests.crash.verdict import Verdict

from crm_api.cli.doctor_checks import State, check_consent

SAME_CLOCK = timedelta(milliseconds=2)
"""The provider's times have milliseconds."""
GRACE = timedelta(seconds=9.9)
"""The grace of the settings is 10 s; a look-up may need the rest to commit."""
BURNT_AT_MOST = 40
"""Calls of two gates of three lines: so many are under way before a refusal is known."""
REDIS_KEYS = ("arq:", "crm:jobs")
CLOSED = frozenset({"released", "refused", "not_found"})
RANKS: Mapping[Subject, Mapping[str, int]] = {
    Subject.ATTEMPT: {
        "claimed": 0,
        "calling": 1,
        "unknown": 2,
        "parked": 3,
        "released": 4,
        "refused": 4,
        "not_found": 4,
        "sent": 5,
        "failed": 6,
        "delivered": 7,
    },
    # Before a message is sent its recipient may wait again; from then on the status only rises.
    Subject.MEMBER: {"sent": 1, "failed": 2, "delivered": 3},
    Subject.MESSAGE: {"sent": 1, "failed": 2, "undelivered": 2, "delivered": 3},
}
ACCOUNT_CODES = frozenset({"0200402", "0201402", "0200401", "0204403"})

_ATTEMPTS = text("""
    SELECT a.id, a.kind, a.membership_id, a.campaign_id, a.line_id, a.status, a.not_after,
           a.provider_message_id, a.nil_at, l.phone_number_id, l.timezone, l.daily_limit
    FROM send_attempt a JOIN line l ON l.id = a.line_id
""")
_DOUBLES = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM campaign_membership GROUP BY campaign_id, step, contact_id
        HAVING count(*) > 1) AS twice
""")
_CAMPAIGN_CAPS = text("SELECT id, daily_limit FROM campaign")
_MEMBERS = text("SELECT phone, status, error_code FROM campaign_membership")
_LINES = text("SELECT number, status FROM line")
_EVENTS = text("SELECT provider_event_id, count(*) AS rows FROM webhook_event GROUP BY 1")
_TEXTS = text("SELECT openphone_id, status FROM activity WHERE openphone_id IS NOT NULL")
_CONTACTS = text("SELECT phone, id FROM contact WHERE phone = ANY(CAST(:phones AS text[]))")
_HISTORY = text("""
    SELECT 'audit ' || id AS name, md5(a::text) AS digest FROM audit_log a
    UNION ALL SELECT 'consent ' || id, md5(c::text) FROM consent_entry c
""")
_ASKED = text("SELECT activity_id FROM consent_entry WHERE action = 'opt_out'")
_OPTED_OUT = text("SELECT phone FROM contact_flag WHERE flag_type = 'opted_out'")
_DECIDED_TEXTS = text("""
    SELECT m.phone, count(a.provider_message_id) AS texts
    FROM campaign_membership m LEFT JOIN send_attempt a ON a.membership_id = m.id
    WHERE m.campaign_id = CAST(:campaign AS uuid) GROUP BY m.phone
""")
_STOPS = text("""
    SELECT id, openphone_id FROM activity
    WHERE direction = 'incoming' AND upper(btrim(body)) = 'STOP'
""")


@dataclass(kw_only=True)
class Found:
    """Everything that the checks read, once all is quiet."""

    stage: Stage
    verdict: Verdict
    steps: Sequence[Step]
    attempts: Sequence[Row[Any]]
    accepted: Sequence[Mapping[str, Any]]
    history_before: Mapping[str, str]
    decided: Decided | None = None
    by_id: Mapping[str, Row[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_id = {
            row.provider_message_id: row
            for row in self.attempts
            if row.provider_message_id is not None
        }

    def of_attempts(self) -> Mapping[UUID, list[Step]]:
        steps: defaultdict[UUID, list[Step]] = defaultdict(list)
        for step in self.steps:
            if step.subject is Subject.ATTEMPT:
                steps[step.row].append(step)
        return steps

    async def rows(self, statement: Any, values: Any = None) -> Sequence[Row[Any]]:
        async with self.stage.engine.connect() as connection:
            return (await connection.execute(statement, values or {})).all()


Check = Callable[[Found], Awaitable[list[str]]]


async def one_open_attempt(found: Found) -> list[str]:
    """Check Invariant 1: no duplicate recipient; at each moment one open attempt."""
    faults = []
    if doubles := (await found.rows(_DOUBLES))[0][0]:
        faults.append(f"{doubles} memberships are there twice")
    return faults + [
        f"recipient {step.member} got attempt {step.row} while {others} were open"
        for step, others in made_beside(found.steps, {"claimed", "calling", "unknown"})
    ]


async def intent_before_call(found: Found) -> list[str]:
    """Check Invariant 2: `calling` was committed before the provider's acceptance, `sent` after."""
    steps, faults = found.of_attempts(), []
    for message in found.accepted:
        row, at = found.by_id.get(message["id"]), _instant(message)
        if row is None:
            continue  # the verdict names it
        called = [step.at for step in steps[row.id] if step.became == "calling"]
        sent = [step.at for step in steps[row.id] if step.became in {"sent", "delivered", "failed"}]
        if not called or called[0] > at + SAME_CLOCK:
            faults.append(f"text {message['id']} came before its intent was stored")
        if not sent or sent[0] < at - SAME_CLOCK:
            faults.append(f"attempt {row.id} was called sent before it was")
    return faults


async def unclear_is_settled(found: Found) -> list[str]:
    """Check Invariant 3: no second attempt beside an unclear one; "not found" after the grace."""
    faults = [
        f"recipient {step.member} got attempt {step.row} while {others} were not settled"
        for step, others in made_beside(found.steps, {"calling", "unknown", "parked"})
    ]
    nil_at = {row.id: row.nil_at for row in found.attempts}
    for attempt, steps in found.of_attempts().items():
        called = [step.at for step in steps if step.became == "calling"]
        faults += [
            f"attempt {attempt} was given up after {step.at - called[0]}"
            for step in steps
            if step.became == "not_found" and step.at - called[0] < GRACE
        ]
        if steps[-1].became == "not_found" and nil_at[attempt] is None:
            faults.append(f"attempt {attempt} was given up after one look")
    return faults


async def nothing_after_a_stop(found: Found) -> list[str]:
    """Check Invariant 4: no gate after a committed opt-out, no message two seconds later."""
    faults = [f"recipient {member} after a STOP" for member in found.verdict.after_stop]
    if not found.verdict.figures["opt-outs"]:
        faults.append("nobody opted out: this was not tried")
    return faults + await decisions_hold(found)


async def decisions_hold(found: Found) -> list[str]:
    """Compare each number with its last decision: messages only after an opt-in."""
    if found.decided is None:
        return []
    flags = {row.phone for row in await found.rows(_OPTED_OUT)}
    values = {"campaign": found.decided.campaign}
    texts = {row.phone: row.texts for row in await found.rows(_DECIDED_TEXTS, values)}
    faults = []
    for phone, is_out in found.decided.is_out.items():
        said = "opt-out" if is_out else "opt-in"
        if (phone in flags) != is_out:
            faults.append(f"the last decision of {phone} is an {said}, its flag differs")
        if texts.get(phone) != (0 if is_out else 1):
            faults.append(f"{phone} got {texts.get(phone)} texts after its {said}")
    if len({*found.decided.is_out.values()}) == 1:
        faults.append("all decided alike: this was not tried")
    return faults


async def caps_hold(found: Found) -> list[str]:
    """Check Invariant 5: messages per line, campaign and day, by the provider's log."""
    limits = {row.id: row.daily_limit for row in await found.rows(_CAMPAIGN_CAPS)}
    lines: Counter[tuple[Any, str, int]] = Counter()
    campaigns: Counter[tuple[UUID, str]] = Counter()
    for message in found.accepted:
        row = found.by_id.get(message["id"])
        if row is None or row.kind != "campaign":
            continue
        day = _instant(message).astimezone(ZoneInfo(row.timezone)).date().isoformat()
        lines[row.phone_number_id, day, row.daily_limit] += 1
        campaigns[row.campaign_id, day] += 1
    faults = [
        f"{count} texts over {line} on {day}, {limit} were allowed"
        for (line, day, limit), count in lines.items()
        if count > limit
    ]
    faults += [
        f"{count} texts of campaign {campaign} on {day}, {limits[campaign]} were allowed"
        for (campaign, day), count in campaigns.items()
        if count > limits[campaign]
    ]
    if max((count for (*_, limit), count in lines.items() if limit == LINE_CAP), default=0) == 0:
        faults.append("the line with few texts a day sent none: this was not tried")
    return faults


async def never_too_late(found: Found) -> list[str]:
    """Check Invariant 6: no message after its latest instant, by the provider's clock."""
    return [
        f"text {message['id']} came at {message['createdAt']}, not after {row.not_after}"
        for message in found.accepted
        if (row := found.by_id.get(message["id"])) is not None
        and row.not_after is not None
        and _instant(message) > row.not_after
    ]


async def redis_holds_nudges(found: Found) -> list[str]:
    """Check Invariant 7: Redis holds only jobs and what arq needs for them."""
    async with Redis.from_url(found.stage.redis_url) as redis:
        keys = [key.decode() async for key in redis.scan_iter()]
    return [f"Redis holds {key}" for key in keys if not key.startswith(REDIS_KEYS)]


async def webhooks_are_kept(found: Found) -> list[str]:
    """Check Invariant 8: what was acknowledged is stored once, and agrees with the provider."""
    stored = {row.provider_event_id: row.rows for row in await found.rows(_EVENTS)}
    log = list(found.stage.sandbox.app.workspace.deliverer.log.values())
    faults = [
        f"event {one.event_id} was acknowledged, rows: {stored.get(str(one.event_id), 0)}"
        for one in log
        if one.status == "success" and stored.get(str(one.event_id)) != 1
    ]
    faults += [f"event {one.event_id} was never taken" for one in log if one.status != "success"]
    known = {row.openphone_id: row.status for row in await found.rows(_TEXTS)}
    reported = {one.resource_id for one in log}
    faults += [
        f"text {message['id']} is {known.get(message['id'])} here, {message['status']} there"
        for message in found.accepted
        if message["id"] in reported and known.get(message["id"]) != message["status"]
    ]
    faults += [
        f"the text {one.id} of a person is not there"
        for one in found.stage.traffic.incoming
        if one.id not in known
    ]
    return faults


async def states_only_rise(found: Found) -> list[str]:
    """Check Invariant 9: no status of an attempt, recipient or message went back."""
    return [
        f"{step.subject} {step.row} went from {step.was} to {step.became}"
        for step in found.steps
        if step.was is not None and not step.is_corrected and _falls(step)
    ]


async def refusals_stop(found: Found) -> list[str]:
    """Check Invariant 10: few calls after a refusal, no failed recipient, all lines open again."""
    heard = found.stage.refusals_heard
    faults = [
        f"{row.phone} failed with {row.error_code}, which is the account's"
        for row in await found.rows(_MEMBERS)
        if row.status == "failed" and row.error_code in ACCOUNT_CODES
    ]
    faults += [
        f"line {row.number} is left {row.status}"
        for row in await found.rows(_LINES)
        if row.status != "active"
    ]
    if heard is not None and not 0 < heard <= BURNT_AT_MOST:
        faults.append(f"{heard} calls were made to an account that was refused")
    return faults


async def history_is_kept(found: Found) -> list[str]:
    """Check Invariant 11: audit log and consent history are complete and unchanged; the chain fits.

    Each STOP that came has its entry, and each contact that the API reported as created exists.
    """
    now = {row.name: row.digest for row in await found.rows(_HISTORY)}
    faults = [
        f"{name} is gone or changed"
        for name, digest in found.history_before.items()
        if now.get(name) != digest
    ]
    if not found.history_before:
        faults.append("there was no history yet: this was not tried")
    chain = await check_consent(found.stage.settings)
    faults += [check.advice for check in chain if check.state is not State.OK]
    entries = {row.activity_id for row in await found.rows(_ASKED)}
    faults += [
        f"the STOP {row.openphone_id} has no entry"
        for row in await found.rows(_STOPS)
        if row.id not in entries
    ]
    written = found.stage.traffic.written
    there = {row.phone: str(row.id) for row in await found.rows(_CONTACTS, {"phones": [*written]})}
    faults += [
        f"contact {phone} was said to be made and is not there"
        for phone, made in written.items()
        if there.get(phone) != made
    ]
    return faults


CHECKS: Mapping[str, Check] = {
    "I1": one_open_attempt,
    "I2": intent_before_call,
    "I3": unclear_is_settled,
    "I4": nothing_after_a_stop,
    "I5": caps_hold,
    "I6": never_too_late,
    "I7": redis_holds_nudges,
    "I8": webhooks_are_kept,
    "I9": states_only_rise,
    "I10": refusals_stop,
    "I11": history_is_kept,
}


async def read_history(stage: Stage) -> Mapping[str, str]:
    """Return a digest of each entry that may never change."""
    async with stage.engine.connect() as connection:
        return {row.name: row.digest for row in await connection.execute(_HISTORY)}


async def find(stage: Stage, verdict: Verdict, history_before: Mapping[str, str]) -> Found:
    """Read everything once all is quiet."""
    answer = await stage.provider.get("/sandbox/messages", params={"direction": "outgoing"})
    async with stage.engine.connect() as connection:
        attempts = (await connection.execute(_ATTEMPTS)).all()
    return Found(
        stage=stage,
        verdict=verdict,
        steps=await read_steps(stage.engine),
        attempts=attempts,
        accepted=answer.json()["data"],
        history_before=history_before,
        decided=stage.decided,
    )


async def broken(found: Found) -> Mapping[str, list[str]]:
    """Return the violated invariants, each with the evidence."""
    results = {name: await check(found) for name, check in CHECKS.items()}
    return {name: faults for name, faults in results.items() if faults}


def gates(steps: Sequence[Step]) -> Mapping[UUID, datetime]:
    """Return when attempts passed their gate, by the database's commit log."""
    return {
        step.row: step.at
        for step in steps
        if step.subject is Subject.ATTEMPT and step.became == "calling"
    }


def made_beside(steps: Sequence[Step], open_: set[str]) -> Iterator[tuple[Step, set[UUID]]]:
    """Yield each attempt that was made while others of its recipient were in these states."""
    states: defaultdict[UUID, dict[UUID, str]] = defaultdict(dict)
    for step in steps:
        if step.subject is not Subject.ATTEMPT or step.member is None:
            continue
        others = {
            attempt
            for attempt, state in states[step.member].items()
            if attempt != step.row and state in open_
        }
        if step.was is None and others:
            yield step, others
        states[step.member][step.row] = step.became


def _falls(step: Step) -> bool:
    ranks = RANKS[step.subject]
    return ranks.get(step.became, 0) < ranks.get(step.was or "", 0)


def _instant(message: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(message["createdAt"])

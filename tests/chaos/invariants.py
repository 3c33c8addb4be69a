"""The checks of the chaos test: one for each invariant in ARCHITECTURE.md.

Each check reads the final state of an installation. "I4" is the check of Invariant 4.
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
from tests.chaos.installation import LINE_CAP, Installation
from tests.chaos.status_changes import StatusChange, Subject, read_status_changes
from tests.crash.verdict import Verdict

from crm_api.cli.doctor_checks import State
from crm_api.cli.doctor_database_checks import check_consent

SAME_CLOCK = timedelta(milliseconds=2)
"""Allowed difference between two times, because the provider's times are exact only to the
millisecond."""
GRACE = timedelta(seconds=9.9)
"""The shortest allowed time from the gate of an attempt to its status ``not_found``. In the
settings, this time (the grace) is 10 s. The difference allows for the time that commits need."""
MOST_REFUSED_CALLS = 40
"""The most calls that the provider may refuse in one fault. On three lines, the calls of two gates
each may be under way before the service knows of the refusal."""
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
    # Until its message is sent, a recipient may move back to a waiting status. Afterwards, its
    # status may only move to a higher rank.
    Subject.MEMBER: {"sent": 1, "failed": 2, "delivered": 3},
    Subject.MESSAGE: {"sent": 1, "failed": 2, "undelivered": 2, "delivered": 3},
}
ACCOUNT_CODES = frozenset({"0200402", "0201402", "0200401", "0204403"})

_ATTEMPTS = text("""
    SELECT a.id, a.kind, a.membership_id, a.campaign_id, a.line_id, a.status, a.not_after,
           a.provider_message_id, a.nil_at, l.phone_number_id, l.timezone, l.daily_limit
    FROM send_attempt a JOIN line l ON l.id = a.line_id
""")
_DUPLICATES = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM campaign_membership GROUP BY campaign_id, step, contact_id
        HAVING count(*) > 1) AS twice
""")
_CAMPAIGN_CAPS = text("SELECT id, daily_limit FROM campaign")
_MEMBERS = text("SELECT phone, status, error_code FROM campaign_membership")
_LINES = text("SELECT number, status FROM line")
_EVENTS = text("SELECT provider_event_id, count(*) AS rows FROM webhook_event GROUP BY 1")
_MESSAGES = text("SELECT openphone_id, status FROM activity WHERE openphone_id IS NOT NULL")
_CONTACTS = text("SELECT phone, id FROM contact WHERE phone = ANY(CAST(:phones AS text[]))")
_HISTORY = text("""
    SELECT 'audit ' || id AS name, md5(a::text) AS digest FROM audit_log a
    UNION ALL SELECT 'consent ' || id, md5(c::text) FROM consent_entry c
""")
_OPT_OUTS = text("SELECT activity_id FROM consent_entry WHERE action = 'opt_out'")
_OPTED_OUT = text("SELECT phone FROM contact_flag WHERE flag_type = 'opted_out'")
_MESSAGES_AFTER_DECISIONS = text("""
    SELECT m.phone, count(a.provider_message_id) AS texts
    FROM campaign_membership m LEFT JOIN send_attempt a ON a.membership_id = m.id
    WHERE m.campaign_id = CAST(:campaign AS uuid) GROUP BY m.phone
""")
_STOPS = text("""
    SELECT id, openphone_id FROM activity
    WHERE direction = 'incoming' AND upper(btrim(body)) = 'STOP'
""")


@dataclass(kw_only=True)
class FinalState:
    """The data that the checks read. They are read after all work has ended."""

    installation: Installation
    verdict: Verdict
    changes: Sequence[StatusChange]
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

    def of_attempts(self) -> Mapping[UUID, list[StatusChange]]:
        changes: defaultdict[UUID, list[StatusChange]] = defaultdict(list)
        for change in self.changes:
            if change.subject is Subject.ATTEMPT:
                changes[change.row].append(change)
        return changes

    async def rows(self, statement: Any, values: Any = None) -> Sequence[Row[Any]]:
        async with self.installation.engine.connect() as connection:
            return (await connection.execute(statement, values or {})).all()


Check = Callable[[FinalState], Awaitable[list[str]]]


async def one_open_attempt(state: FinalState) -> list[str]:
    """Check Invariant 1: no recipient exists twice, and none ever had two open attempts."""
    violations = []
    if duplicates := (await state.rows(_DUPLICATES))[0][0]:
        violations.append(f"{duplicates} memberships exist twice")
    return violations + [
        f"recipient {change.member} got attempt {change.row} while {others} were open"
        for change, others in created_while_another_is_in(
            state.changes, {"claimed", "calling", "unknown"}
        )
    ]


async def intent_before_call(state: FinalState) -> list[str]:
    """Check Invariant 2: the intent was committed before the provider accepted the message.

    The intent is the status ``calling`` of the attempt. The status ``sent``, or a later one, was
    committed after the provider accepted the message.
    """
    changes, violations = state.of_attempts(), []
    for message in state.accepted:
        row, at = state.by_id.get(message["id"]), _instant(message)
        if row is None:
            # The verdict already reports a message that no attempt has.
            continue
        called = [change.at for change in changes[row.id] if change.became == "calling"]
        sent = [
            change.at
            for change in changes[row.id]
            if change.became in {"sent", "delivered", "failed"}
        ]
        if not called or called[0] > at + SAME_CLOCK:
            violations.append(f"message {message['id']} was accepted before its intent was stored")
        if not sent or sent[0] < at - SAME_CLOCK:
            violations.append(f"attempt {row.id} was stored as sent before it was accepted")
    return violations


async def unclear_attempts_are_settled(state: FinalState) -> list[str]:
    """Check Invariant 3: a recipient with an unclear attempt gets no second attempt.

    An unclear attempt becomes ``not_found`` only after the grace (a time after the gate) and after
    two look-ups.
    """
    violations = [
        f"recipient {change.member} got attempt {change.row} while {others} were not settled"
        for change, others in created_while_another_is_in(
            state.changes, {"calling", "unknown", "parked"}
        )
    ]
    nil_at = {row.id: row.nil_at for row in state.attempts}
    for attempt, changes in state.of_attempts().items():
        called = [change.at for change in changes if change.became == "calling"]
        violations += [
            f"attempt {attempt} was given up after {change.at - called[0]}"
            for change in changes
            if change.became == "not_found" and change.at - called[0] < GRACE
        ]
        if changes[-1].became == "not_found" and nil_at[attempt] is None:
            violations.append(f"attempt {attempt} was given up after one look-up")
    return violations


async def no_message_after_an_opt_out(state: FinalState) -> list[str]:
    """Check Invariant 4: after a committed opt-out, no attempt passes the gate.

    A message that passed the gate before the opt-out may still be sent within two seconds. The last
    decision of each person applies.
    """
    violations = [f"recipient {member} after a STOP" for member in state.verdict.after_stop]
    if not state.verdict.figures["opt-outs"]:
        violations.append("nobody opted out: this was not tested")
    return violations + await last_decisions_apply(state)


async def last_decisions_apply(state: FinalState) -> list[str]:
    """Check that the last decision of each person applies.

    People who opted in last got one message of the campaign that started after all decisions.
    People who opted out last got no message of it, and have the flag for an opt-out.
    """
    if state.decided is None:
        return []
    flags = {row.phone for row in await state.rows(_OPTED_OUT)}
    values = {"campaign": state.decided.campaign}
    texts = {row.phone: row.texts for row in await state.rows(_MESSAGES_AFTER_DECISIONS, values)}
    violations = []
    for phone, is_out in state.decided.is_out.items():
        decision = "opt-out" if is_out else "opt-in"
        if (phone in flags) != is_out:
            violations.append(
                f"the last decision of {phone} is an {decision}, but its flag differs"
            )
        if texts.get(phone) != (0 if is_out else 1):
            violations.append(f"{phone} got {texts.get(phone)} messages after its {decision}")
    if len({*state.decided.is_out.values()}) == 1:
        violations.append("all people decided the same: this was not tested")
    return violations


async def caps_are_kept(state: FinalState) -> list[str]:
    """Check Invariant 5: no line or campaign exceeded its daily limit, by the provider's log."""
    limits = {row.id: row.daily_limit for row in await state.rows(_CAMPAIGN_CAPS)}
    lines: Counter[tuple[Any, str, int]] = Counter()
    campaigns: Counter[tuple[UUID, str]] = Counter()
    for message in state.accepted:
        row = state.by_id.get(message["id"])
        if row is None or row.kind != "campaign":
            continue
        day = _instant(message).astimezone(ZoneInfo(row.timezone)).date().isoformat()
        lines[row.phone_number_id, day, row.daily_limit] += 1
        campaigns[row.campaign_id, day] += 1
    violations = [
        f"{count} messages over {line} on {day}, {limit} were allowed"
        for (line, day, limit), count in lines.items()
        if count > limit
    ]
    violations += [
        f"{count} messages of campaign {campaign} on {day}, {limits[campaign]} were allowed"
        for (campaign, day), count in campaigns.items()
        if count > limits[campaign]
    ]
    if max((count for (*_, limit), count in lines.items() if limit == LINE_CAP), default=0) == 0:
        violations.append("the line with the low daily limit sent no message: this was not tested")
    return violations


async def no_message_after_its_latest_instant(state: FinalState) -> list[str]:
    """Check Invariant 6: no message was accepted after its latest instant (``not_after``)."""
    return [
        f"message {message['id']} was accepted at {message['createdAt']}, after {row.not_after}"
        for message in state.accepted
        if (row := state.by_id.get(message["id"])) is not None
        and row.not_after is not None
        and _instant(message) > row.not_after
    ]


async def redis_holds_only_jobs(state: FinalState) -> list[str]:
    """Check Invariant 7: Redis has only jobs, and the keys that arq needs for jobs."""
    async with Redis.from_url(state.installation.redis_url) as redis:
        keys = [key.decode() async for key in redis.scan_iter()]
    return [f"Redis holds {key}" for key in keys if not key.startswith(REDIS_KEYS)]


async def webhooks_are_stored_once(state: FinalState) -> list[str]:
    """Check Invariant 8: each acknowledged event is stored once.

    In the end, each event was acknowledged, each reported message has the same status here and at
    the provider, and each message from a person is stored.
    """
    stored = {row.provider_event_id: row.rows for row in await state.rows(_EVENTS)}
    log = list(state.installation.sandbox.app.workspace.deliverer.log.values())
    violations = [
        f"event {one.event_id} was acknowledged, rows: {stored.get(str(one.event_id), 0)}"
        for one in log
        if one.status == "success" and stored.get(str(one.event_id)) != 1
    ]
    violations += [
        f"event {one.event_id} was never acknowledged" for one in log if one.status != "success"
    ]
    known = {row.openphone_id: row.status for row in await state.rows(_MESSAGES)}
    reported = {one.resource_id for one in log}
    violations += [
        f"message {message['id']} is {known.get(message['id'])} here, {message['status']} there"
        for message in state.accepted
        if message["id"] in reported and known.get(message["id"]) != message["status"]
    ]
    violations += [
        f"the message {one.id} of a person is missing"
        for one in state.installation.traffic.incoming
        if one.id not in known
    ]
    return violations


async def status_never_goes_back(state: FinalState) -> list[str]:
    """Check Invariant 9: no status of an attempt, recipient or message moved to a lower rank."""
    return [
        f"{change.subject} {change.row} went from {change.was} to {change.became}"
        for change in state.changes
        if change.was is not None and not change.is_corrected and _goes_back(change)
    ]


async def refusal_stops_calls(state: FinalState) -> list[str]:
    """Check Invariant 10: after a refusal of the account, the service makes few calls.

    No recipient failed because of the account. In the end, all lines are active again.
    """
    refused_calls = state.installation.refused_calls
    violations = [
        f"{row.phone} failed with {row.error_code}, which is a code of the account"
        for row in await state.rows(_MEMBERS)
        if row.status == "failed" and row.error_code in ACCOUNT_CODES
    ]
    violations += [
        f"line {row.number} is still {row.status}"
        for row in await state.rows(_LINES)
        if row.status != "active"
    ]
    if refused_calls is not None and not 0 < refused_calls <= MOST_REFUSED_CALLS:
        violations.append(f"{refused_calls} calls were made although the account was refused")
    return violations


async def history_is_complete(state: FinalState) -> list[str]:
    """Check Invariant 11: the audit log and the consent history are complete and unchanged.

    The consent history is a valid chain. Each received STOP has an entry in it. Each contact exists
    that the API reported as created.
    """
    now = {row.name: row.digest for row in await state.rows(_HISTORY)}
    violations = [
        f"{name} is missing or changed"
        for name, digest in state.history_before.items()
        if now.get(name) != digest
    ]
    if not state.history_before:
        violations.append("there was no history yet: this was not tested")
    chain = await check_consent(state.installation.settings)
    violations += [check.advice for check in chain if check.state is not State.OK]
    entries = {row.activity_id for row in await state.rows(_OPT_OUTS)}
    violations += [
        f"the STOP {row.openphone_id} has no entry"
        for row in await state.rows(_STOPS)
        if row.id not in entries
    ]
    created_contacts = state.installation.traffic.created_contacts
    contacts = {
        row.phone: str(row.id)
        for row in await state.rows(_CONTACTS, {"phones": [*created_contacts]})
    }
    violations += [
        f"contact {phone} was reported as created and is missing"
        for phone, made in created_contacts.items()
        if contacts.get(phone) != made
    ]
    return violations


CHECKS: Mapping[str, Check] = {
    "I1": one_open_attempt,
    "I2": intent_before_call,
    "I3": unclear_attempts_are_settled,
    "I4": no_message_after_an_opt_out,
    "I5": caps_are_kept,
    "I6": no_message_after_its_latest_instant,
    "I7": redis_holds_only_jobs,
    "I8": webhooks_are_stored_once,
    "I9": status_never_goes_back,
    "I10": refusal_stops_calls,
    "I11": history_is_complete,
}


async def read_history(installation: Installation) -> Mapping[str, str]:
    """Return a digest of each entry of the audit log and the consent history.

    These entries must never change.
    """
    async with installation.engine.connect() as connection:
        return {row.name: row.digest for row in await connection.execute(_HISTORY)}


async def read_final_state(
    installation: Installation, verdict: Verdict, history_before: Mapping[str, str]
) -> FinalState:
    """Read the data for the checks. Call this function only when no work is open."""
    answer = await installation.provider.get("/sandbox/messages", params={"direction": "outgoing"})
    async with installation.engine.connect() as connection:
        attempts = (await connection.execute(_ATTEMPTS)).all()
    return FinalState(
        installation=installation,
        verdict=verdict,
        changes=await read_status_changes(installation.engine),
        attempts=attempts,
        accepted=answer.json()["data"],
        history_before=history_before,
        decided=installation.decided,
    )


async def find_violations(state: FinalState) -> Mapping[str, list[str]]:
    """Return each violated invariant, with sentences that describe the violations."""
    results = {name: await check(state) for name, check in CHECKS.items()}
    return {name: violations for name, violations in results.items() if violations}


def read_gate_times(changes: Sequence[StatusChange]) -> Mapping[UUID, datetime]:
    """Return when each attempt passed its gate, by the database's commit log."""
    return {
        change.row: change.at
        for change in changes
        if change.subject is Subject.ATTEMPT and change.became == "calling"
    }


def created_while_another_is_in(
    changes: Sequence[StatusChange], open_: set[str]
) -> Iterator[tuple[StatusChange, set[UUID]]]:
    """Yield each attempt that was created while its recipient had another in these states.

    ``open_`` has the states.
    """
    states: defaultdict[UUID, dict[UUID, str]] = defaultdict(dict)
    for change in changes:
        if change.subject is not Subject.ATTEMPT or change.member is None:
            continue
        others = {
            attempt
            for attempt, state in states[change.member].items()
            if attempt != change.row and state in open_
        }
        if change.was is None and others:
            yield change, others
        states[change.member][change.row] = change.became


def _goes_back(change: StatusChange) -> bool:
    ranks = RANKS[change.subject]
    return ranks.get(change.became, 0) < ranks.get(change.was or "", 0)


def _instant(message: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(message["createdAt"])

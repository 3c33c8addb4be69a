"""Count the messages of every recipient at the provider, and compare the database with them."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

MAY_STILL_BE_SENT = timedelta(seconds=2)
"""A message that passed the gate before the opt-out is sent within one second (``call_start``). The
other second allows for the sandbox, which shares two processor cores with all other processes."""
ENDED_WITH_TEXT = frozenset({"sent", "delivered", "failed"})
OPEN = frozenset({"pending", "sending", "unknown", "review", "held"})
GIVEN_UP = frozenset({"gave_up", "expired"})
NO_GATES: Mapping[UUID, datetime] = {}

_MEMBERS = text("""
    SELECT m.id, m.campaign_id, m.step, m.phone, m.status, m.skip_reason, m.error_code,
           m.provider_message_id, c.status AS campaign_status, c.end_at
    FROM campaign_membership m JOIN campaign c ON c.id = m.campaign_id
""")
_ATTEMPTS = text("""
    SELECT a.id, a.kind, coalesce(a.membership_id, a.activity_id) AS subject, a.phone, a.body,
           a.status, a.created_at, a.called_at, a.accepted_at, a.updated_at, a.error_code,
           a.is_matched, a.nil_at, a.has_no_id, a.provider_message_id, h.holder
    FROM send_attempt a LEFT JOIN crash_holder h ON h.attempt_id = a.id
    ORDER BY a.created_at
""")
# PostgreSQL's commit log has the instant at which each decision became visible to other
# transactions.
_DECISIONS = text("""
    SELECT w.phone, e.action = 'opt_out' AS is_out, pg_xact_commit_timestamp(e.xmin) AS stored_at
    FROM consent_entry e JOIN consent_wording w ON w.entry_id = e.id
    WHERE e.action IN ('opt_out', 'opt_in') ORDER BY stored_at
""")
_OPEN = text("""
    SELECT (SELECT count(*) FROM campaign_membership
            WHERE status IN ('pending', 'sending', 'unknown'))
         + (SELECT count(*) FROM send_attempt WHERE status IN ('claimed', 'calling', 'unknown'))
         + (SELECT count(*) FROM activity WHERE status = 'queued' AND send_after <= now()
              AND origin IN ('confirmation', 'help'))
         + (SELECT count(*) FROM campaign WHERE status IN ('running', 'scheduled'))
         + (SELECT count(*) FROM webhook_event WHERE status IN ('pending', 'failed'))
""")
_DEAD_EVENTS = text("SELECT count(*) FROM webhook_event WHERE status = 'dead'")


@dataclass(kw_only=True)
class Verdict:
    """What the provider accepted, compared with what it should have accepted.

    Attributes:
        duplicates: The recipient of each surplus message; None if the message has no recipient.
        losses: Each recipient whose stored message the provider does not have, or whose sending did
            not end.
        after_stop: The recipient of each message that was sent after an opt-out was stored.
        faults: Differences between the database and the provider, as sentences.
        figures: Other counts.
    """

    duplicates: list[UUID | None] = field(default_factory=list)
    losses: list[UUID] = field(default_factory=list)
    after_stop: list[UUID] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        return not (self.duplicates or self.losses or self.after_stop or self.faults)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An opt-out or opt-in, and the instant at which other transactions could see it."""

    is_out: bool
    stored_at: datetime


async def count_open(engine: AsyncEngine) -> int:
    """Count the open recipients, attempts, automatic replies, campaigns and events."""
    async with engine.connect() as connection:
        return int(await connection.scalar(_OPEN) or 0)


async def judge(
    engine: AsyncEngine,
    sandbox: httpx.AsyncClient,
    *,
    evidence: Path,
    gated: Mapping[UUID, datetime] = NO_GATES,
) -> Verdict:
    """Compare the database with the provider once no work is open; write the evidence of faults.

    Args:
        evidence: The file for the evidence.
        gated: When attempts passed their gate (the last check before the call). Pass it if the
            worker's clock may have been wrong.
    """
    async with engine.connect() as connection:
        members = (await connection.execute(_MEMBERS)).all()
        attempts = (await connection.execute(_ATTEMPTS)).all()
        decisions: defaultdict[str, list[Decision]] = defaultdict(list)
        for row in await connection.execute(_DECISIONS):
            decisions[row.phone].append(Decision(is_out=row.is_out, stored_at=row.stored_at))
        dead_events = int(await connection.scalar(_DEAD_EVENTS) or 0)
    answer = await sandbox.get("/sandbox/messages", params={"direction": "outgoing"})
    accepted: list[dict[str, Any]] = answer.json()["data"]
    verdict = Verdict()
    _compare_counts(verdict, attempts, accepted)
    _compare_ids(verdict, attempts, accepted)
    _check_ends(verdict, members, attempts)
    _check_opt_outs(verdict, attempts, accepted, decisions, gated)
    if dead_events:
        verdict.faults.append(f"{dead_events} webhook events could not be applied")
    opt_outs = sum(any(one.is_out for one in made) for made in decisions.values())
    verdict.figures.update(
        {"recipients": len(members), "messages accepted": len(accepted), "opt-outs": opt_outs}
    )
    verdict.figures.update(f"recipients {row.status}" for row in members)
    verdict.figures.update(f"attempts {row.status}" for row in attempts)
    _keep_evidence(evidence, verdict, attempts, accepted)
    return verdict


def _keep_evidence(
    path: Path,
    verdict: Verdict,
    attempts: Sequence[Row[Any]],
    accepted: Sequence[Mapping[str, Any]],
) -> None:
    """Write all attempts and messages of the phone numbers that have a fault to a file."""
    wrong = {*verdict.duplicates, *verdict.losses, *verdict.after_stop}
    phones = sorted({row.phone for row in attempts if row.subject in wrong})
    found = {
        phone: {
            "attempts": [dict(row._mapping) for row in attempts if row.phone == phone],
            "accepted": [message for message in accepted if phone in message["to"]],
        }
        for phone in phones
    }
    path.write_text(json.dumps({"wrong": wrong, "numbers": found}, default=_shown, indent=1))


def _shown(value: object) -> object:
    return sorted(map(str, value)) if isinstance(value, set) else str(value)


def _compare_counts(
    verdict: Verdict, attempts: Sequence[Row[Any]], accepted: Sequence[Mapping[str, Any]]
) -> None:
    """Compare the number of accepted messages with the number of stored ones.

    The messages are counted for each phone number and message body.
    """
    due: defaultdict[tuple[str, str], set[UUID]] = defaultdict(set)
    tried: defaultdict[tuple[str, str], set[UUID]] = defaultdict(set)
    for attempt in attempts:
        tried[attempt.phone, attempt.body].add(attempt.subject)
        if attempt.provider_message_id is not None:
            due[attempt.phone, attempt.body].add(attempt.subject)
    got = Counter((number, message["text"]) for message in accepted for number in message["to"])
    for text_to in due.keys() | got.keys():
        too_many = got[text_to] - len(due[text_to])
        concerned: list[UUID | None] = sorted(due[text_to] or tried[text_to]) or [None]  # type: ignore[assignment] # a list of UUID holds no None, yet is one of both
        verdict.duplicates += [concerned[0]] * max(0, too_many)
        verdict.losses += sorted(due[text_to])[: max(0, -too_many)]


def _compare_ids(
    verdict: Verdict, attempts: Sequence[Row[Any]], accepted: Sequence[Mapping[str, Any]]
) -> None:
    """Check that each accepted message belongs to exactly one attempt with its number and body."""
    by_id = {message["id"]: message for message in accepted}
    held = {row.provider_message_id: row for row in attempts if row.provider_message_id is not None}
    for message_id in by_id.keys() - held.keys():
        verdict.faults.append(
            f"no attempt has message {message_id} to {by_id[message_id]['to'][0]}"
        )
    for message_id in held.keys() - by_id.keys():
        verdict.faults.append(
            f"attempt {held[message_id].id} has a message that was never accepted"
        )
    for message_id in held.keys() & by_id.keys():
        message, row = by_id[message_id], held[message_id]
        if (message["to"], message["text"]) != ([row.phone], row.body):
            verdict.faults.append(f"attempt {row.id} has a message with another number or text")


def _check_ends(
    verdict: Verdict, members: Sequence[Row[Any]], attempts: Sequence[Row[Any]]
) -> None:
    """Check that each recipient has one message, or none with a reason.

    Also check that no attempt and no campaign is open.
    """
    texts = Counter(row.subject for row in attempts if row.provider_message_id is not None)
    for row in attempts:
        if row.status in {"claimed", "calling", "unknown", "parked"}:
            verdict.faults.append(f"attempt {row.id} is still {row.status}")
    for member in members:
        if texts[member.id] > 1:
            verdict.duplicates += [member.id] * (texts[member.id] - 1)
        has_no_end = member.status in OPEN or member.error_code in GIVEN_UP
        if has_no_end or (member.status in ENDED_WITH_TEXT and texts[member.id] == 0):
            verdict.losses.append(member.id)
        elif member.status == "skipped" and member.skip_reason is None:
            verdict.faults.append(f"recipient {member.id} is skipped without a reason")
        elif member.status == "cancelled" and not _may_be_cancelled(member):
            verdict.faults.append(f"recipient {member.id} is cancelled, the campaign is not")
    unfinished = {row.campaign_id for row in members} - {
        row.campaign_id for row in members if row.campaign_status in {"completed", "cancelled"}
    }
    verdict.faults += [f"campaign {campaign} has not ended" for campaign in unfinished]


def _may_be_cancelled(member: Row[Any]) -> bool:
    """Return True if the campaign was cancelled, or ended before the message was sent."""
    has_ended = member.end_at is not None and member.skip_reason == "campaign_ended"
    return has_ended or bool(member.campaign_status == "cancelled")


def _check_opt_outs(
    verdict: Verdict,
    attempts: Sequence[Row[Any]],
    accepted: Sequence[Mapping[str, Any]],
    decisions: Mapping[str, Sequence[Decision]],
    gated: Mapping[UUID, datetime],
) -> None:
    """Find attempts that passed their gate after an opt-out.

    Also find messages that the provider accepted after an opt-out.
    """
    created = {message["id"]: datetime.fromisoformat(message["createdAt"]) for message in accepted}
    for row in attempts:
        accepted_at = created.get(row.provider_message_id)
        if accepted_at is not None and row.called_at is None:
            verdict.faults.append(f"attempt {row.id} has a message and never passed its gate")
        if row.kind != "campaign" or row.phone not in decisions:
            continue
        made = decisions[row.phone]
        gated_at = gated.get(row.id, row.called_at)
        is_gated_late = gated_at is not None and is_out(made, gated_at)
        is_late = (
            accepted_at is not None
            and is_out(made, accepted_at - MAY_STILL_BE_SENT)
            and is_out(made, accepted_at)
        )
        if is_gated_late or is_late:
            verdict.after_stop.append(row.subject)


def is_out(decisions: Sequence[Decision], at: datetime) -> bool:
    """Return True if the last decision stored before this instant is an opt-out."""
    before = [one for one in decisions if one.stored_at < at]
    return bool(before) and before[-1].is_out

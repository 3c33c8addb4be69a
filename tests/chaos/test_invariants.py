"""Each check of the suite that needs no company detects the fault that it is for."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from tests.chaos import invariants
from tests.chaos.invariants import Found
from tests.chaos.ledger import Step, Subject
from tests.chaos.stage import Stage
from tests.crash.verdict import Verdict

BEGIN = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)
MEMBER = UUID(int=1)


def step(
    became: str,
    *,
    was: str | None = None,
    row: int = 2,
    after: float = 0.0,
    subject: Subject = Subject.ATTEMPT,
) -> Step:
    return Step(
        subject=subject,
        row=UUID(int=row),
        member=MEMBER if subject is Subject.ATTEMPT else None,
        was=was,
        became=became,
        at=BEGIN + timedelta(seconds=after),
        is_corrected=False,
    )


def found(
    steps: Sequence[Step] = (),
    *,
    attempts: Sequence[Any] = (),
    accepted: Sequence[Mapping[str, Any]] = (),
    verdict: Verdict | None = None,
) -> Found:
    return Found(
        stage=cast("Stage", None),
        verdict=verdict or Verdict(),
        steps=steps,
        attempts=attempts,
        accepted=accepted,
        history_before={},
    )


def sent(*, at: float, not_after: float = 60.0) -> dict[str, Any]:
    attempt = SimpleNamespace(
        id=UUID(int=2),
        provider_message_id="AC1",
        not_after=BEGIN + timedelta(seconds=not_after),
        nil_at=None,
    )
    message = {"id": "AC1", "createdAt": (BEGIN + timedelta(seconds=at)).isoformat()}
    return {"attempts": [attempt], "accepted": [message]}


async def test_an_intent_stored_after_the_call_is_detected() -> None:
    late = [step("claimed"), step("calling", after=2), step("sent", after=3)]
    timely = [step("claimed"), step("calling", after=0.5), step("sent", after=3)]

    assert await invariants.intent_before_call(found(late, **sent(at=1)))
    assert not await invariants.intent_before_call(found(timely, **sent(at=1)))


async def test_an_outcome_stored_before_the_call_is_detected() -> None:
    steps = [step("calling"), step("sent", after=0.5)]

    assert await invariants.intent_before_call(found(steps, **sent(at=1)))


@pytest.mark.parametrize("state", ["calling", "unknown", "parked"])
async def test_an_attempt_beside_an_unclear_one_is_detected(state: str) -> None:
    steps = [step("claimed"), step(state, was="claimed"), step("claimed", row=3)]

    assert await invariants.unclear_is_settled(found(steps))


def test_an_attempt_beside_an_open_one_is_detected() -> None:
    first = [step("claimed"), step("released", was="claimed"), step("claimed", row=3)]
    beside = [step("claimed"), step("claimed", row=3)]

    assert not [*invariants.made_beside(first, {"claimed"})]
    assert [*invariants.made_beside(beside, {"claimed"})]


async def test_a_send_given_up_before_the_grace_is_detected() -> None:
    attempts = [SimpleNamespace(id=UUID(int=2), nil_at=BEGIN, provider_message_id=None)]
    early = [step("calling"), step("not_found", was="unknown", after=9)]
    late = [step("calling"), step("not_found", was="unknown", after=11)]

    assert await invariants.unclear_is_settled(found(early, attempts=attempts))
    assert not await invariants.unclear_is_settled(found(late, attempts=attempts))


async def test_a_send_given_up_after_one_look_is_detected() -> None:
    attempts = [SimpleNamespace(id=UUID(int=2), nil_at=None, provider_message_id=None)]
    steps = [step("calling"), step("not_found", was="unknown", after=11)]

    assert await invariants.unclear_is_settled(found(steps, attempts=attempts))


async def test_a_message_after_its_latest_instant_is_detected() -> None:
    assert await invariants.never_too_late(found(**sent(at=61)))
    assert not await invariants.never_too_late(found(**sent(at=59)))


async def test_a_message_after_a_stop_is_detected_and_so_is_a_run_without_stops() -> None:
    stopped = Verdict(after_stop=[uuid4()])
    stopped.figures["opt-outs"] = 1

    assert await invariants.nothing_after_a_stop(found(verdict=stopped))
    assert await invariants.nothing_after_a_stop(found())


@pytest.mark.parametrize(
    ("subject", "was", "became"),
    [
        (Subject.ATTEMPT, "sent", "unknown"),
        (Subject.ATTEMPT, "delivered", "sent"),
        (Subject.MEMBER, "sent", "pending"),
        (Subject.MEMBER, "delivered", "failed"),
        (Subject.MESSAGE, "delivered", "undelivered"),
    ],
)
async def test_a_step_back_is_detected(subject: Subject, was: str, became: str) -> None:
    assert await invariants.states_only_rise(found([step(became, was=was, subject=subject)]))
    assert not await invariants.states_only_rise(found([step(was, was=became, subject=subject)]))

"""Prove that the checks of the chaos test detect violations.

Only those checks are tested that need no running installation.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from tests.chaos import invariants
from tests.chaos.installation import Installation
from tests.chaos.invariants import FinalState
from tests.chaos.status_changes import StatusChange, Subject
from tests.crash.verdict import Verdict

BEGIN = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)
MEMBER = UUID(int=1)


def change(
    became: str,
    *,
    was: str | None = None,
    row: int = 2,
    after: float = 0.0,
    subject: Subject = Subject.ATTEMPT,
) -> StatusChange:
    return StatusChange(
        subject=subject,
        row=UUID(int=row),
        member=MEMBER if subject is Subject.ATTEMPT else None,
        was=was,
        became=became,
        at=BEGIN + timedelta(seconds=after),
        is_corrected=False,
    )


def final_state(
    changes: Sequence[StatusChange] = (),
    *,
    attempts: Sequence[Any] = (),
    accepted: Sequence[Mapping[str, Any]] = (),
    verdict: Verdict | None = None,
) -> FinalState:
    return FinalState(
        installation=cast("Installation", None),
        verdict=verdict or Verdict(),
        changes=changes,
        attempts=attempts,
        accepted=accepted,
        history_before={},
    )


def accepted_message(*, at: float, not_after: float = 60.0) -> dict[str, Any]:
    attempt = SimpleNamespace(
        id=UUID(int=2),
        provider_message_id="AC1",
        not_after=BEGIN + timedelta(seconds=not_after),
        nil_at=None,
    )
    message = {"id": "AC1", "createdAt": (BEGIN + timedelta(seconds=at)).isoformat()}
    return {"attempts": [attempt], "accepted": [message]}


async def test_an_intent_stored_after_the_call_is_detected() -> None:
    late = [change("claimed"), change("calling", after=2), change("sent", after=3)]
    timely = [change("claimed"), change("calling", after=0.5), change("sent", after=3)]

    assert await invariants.intent_before_call(final_state(late, **accepted_message(at=1)))
    assert not await invariants.intent_before_call(final_state(timely, **accepted_message(at=1)))


async def test_an_outcome_stored_before_the_call_is_detected() -> None:
    changes = [change("calling"), change("sent", after=0.5)]

    assert await invariants.intent_before_call(final_state(changes, **accepted_message(at=1)))


@pytest.mark.parametrize("state", ["calling", "unknown", "parked"])
async def test_an_attempt_created_while_another_is_unclear_is_detected(state: str) -> None:
    changes = [change("claimed"), change(state, was="claimed"), change("claimed", row=3)]

    assert await invariants.unclear_attempts_are_settled(final_state(changes))


def test_an_attempt_created_while_another_is_open_is_detected() -> None:
    first = [change("claimed"), change("released", was="claimed"), change("claimed", row=3)]
    beside = [change("claimed"), change("claimed", row=3)]

    assert not [*invariants.created_while_another_is_in(first, {"claimed"})]
    assert [*invariants.created_while_another_is_in(beside, {"claimed"})]


async def test_an_attempt_given_up_before_the_grace_is_detected() -> None:
    attempts = [SimpleNamespace(id=UUID(int=2), nil_at=BEGIN, provider_message_id=None)]
    early = [change("calling"), change("not_found", was="unknown", after=9)]
    late = [change("calling"), change("not_found", was="unknown", after=11)]

    assert await invariants.unclear_attempts_are_settled(final_state(early, attempts=attempts))
    assert not await invariants.unclear_attempts_are_settled(final_state(late, attempts=attempts))


async def test_an_attempt_given_up_after_one_look_up_is_detected() -> None:
    attempts = [SimpleNamespace(id=UUID(int=2), nil_at=None, provider_message_id=None)]
    changes = [change("calling"), change("not_found", was="unknown", after=11)]

    assert await invariants.unclear_attempts_are_settled(final_state(changes, attempts=attempts))


async def test_a_message_after_its_latest_instant_is_detected() -> None:
    assert await invariants.no_message_after_its_latest_instant(
        final_state(**accepted_message(at=61))
    )
    assert not await invariants.no_message_after_its_latest_instant(
        final_state(**accepted_message(at=59))
    )


async def test_a_message_after_a_stop_is_detected_and_so_is_a_run_without_stops() -> None:
    stopped = Verdict(after_stop=[uuid4()])
    stopped.figures["opt-outs"] = 1

    assert await invariants.no_message_after_an_opt_out(final_state(verdict=stopped))
    assert await invariants.no_message_after_an_opt_out(final_state())


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
async def test_a_status_that_goes_back_is_detected(subject: Subject, was: str, became: str) -> None:
    assert await invariants.status_never_goes_back(
        final_state([change(became, was=was, subject=subject)])
    )
    assert not await invariants.status_never_goes_back(
        final_state([change(was, was=became, subject=subject)])
    )

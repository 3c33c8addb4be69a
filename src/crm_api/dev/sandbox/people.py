"""Simulate the people: decide what a person does after a message to the person's phone number."""

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from crm_api.dev.sandbox.config import PeopleWeights, SandboxConfig
from crm_api.domain.monitoring.sandbox_control.schemas import Act

PROVIDER_STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
PROVIDER_START_WORDS = frozenset({"START", "UNSTOP"})
BLOCKED_CODE = "21610"
"""Error code of a message to a person who has sent STOP before.

The provider does not document this code; we inferred it.
"""

REPLIES = (
    "Yes, please call me tomorrow afternoon.",
    "Who is this?",
    "Can you stop by tomorrow?",
    "Thanks, we had ours done last year.",
    "How much would it cost?",
    "Sounds good, is Tuesday at 10 possible?",
    "Sí, mañana por la tarde está bien",
    "Not right now, maybe in spring 👍",
)
STOPS = ("STOP", "Stop", "STOP", "UNSUBSCRIBE", "Stop texting me please")
FAILURE_CODES = ("30006", "30003", "30005")
UNDELIVERED_CODES = ("30007", "30008")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One action of a person, or one status of the message to the person.

    Attributes:
        after: Seconds from the acceptance of the message to this step.
        text: The text of a reply.
        error_code: The error code of a failed message.
        times: How many times the event of a status is sent. The real provider sometimes repeats
            events.
        on_text: The messages to the phone number are counted from 1. The step happens only after
            the message with this number. If None, the step happens after every message.
        answered: True if the company answers the phone call.
    """

    do: Act
    after: float = 0.0
    text: str = "OK"
    error_code: str | None = None
    times: int = 1
    on_text: int | None = None
    answered: bool = True


class People:
    """Decides what the person with a phone number does after a message.

    A script is a list of actions, set for phone numbers by a test or a developer. Without a script,
    the phone number and the setting ``seed`` decide, so the action is the same in every run.
    """

    def __init__(self) -> None:
        self.scripts: dict[str, tuple[Step, ...]] = {}
        """The scripts (lists of actions) of simulated people, by phone number.

        A key is a phone number, or the first digits of phone numbers and a ``*``. The key ``*`` is
        for every phone number.
        """
        self.blocked: set[str] = set()
        """Phone numbers of people who sent a stop word. The provider blocks messages to them."""
        self._answered: set[str] = set()
        self._texts: Counter[str] = Counter()

    def reset(self) -> None:
        """Delete all scripts, blocks of phone numbers, and records of messages and replies.

        A stop word, such as STOP, blocks a phone number.
        """
        self.scripts.clear()
        self.blocked.clear()
        self._answered.clear()
        self._texts.clear()

    def script_of(self, number: str) -> tuple[Step, ...] | None:
        """Return the script for a phone number; None if no script applies to it.

        A script for exactly this number comes first, then the script of the longest prefix, such as
        ``+1617*``.
        """
        if number in self.scripts:
            return self.scripts[number]
        for length in range(len(number), -1, -1):
            script = self.scripts.get(number[:length] + "*")
            if script is not None:
                return script
        return None

    def note_incoming(self, number: str, text: str) -> None:
        """Record a message from a phone number.

        A stop word, such as STOP, blocks the phone number: messages to it fail. A start word, such
        as START, unblocks the number. If a script was set for a number, the block has no effect.
        """
        self._answered.add(number)
        word = text.strip().upper()
        if word in PROVIDER_STOP_WORDS:
            self.blocked.add(number)
        elif word in PROVIDER_START_WORDS:
            self.blocked.discard(number)

    def steps_for(self, number: str, config: SandboxConfig) -> tuple[Step, ...]:
        """Return what happens after a message to a simulated person, such as a reply.

        The script of the phone number decides. Without a script, a message to a blocked phone
        number fails; for other numbers, ``config`` decides. A person without a script replies only
        once, so the service and the sandbox cannot reply to each other without end.
        """
        script = self.script_of(number) if self.scripts else None
        if script is not None:
            self._texts[number] += 1
            return tuple(one for one in script if one.on_text in (None, self._texts[number]))
        if number in self.blocked:
            return (Step(do=Act.FAIL, after=0.1, error_code=BLOCKED_CODE),)
        if config.people == "silent":
            return ()
        share, pick, speed = _fractions(number, config.seed)
        delivered = _between(config.delivered_after_seconds, speed)
        does, choices = _usual_behaviour(config.people, share)
        if does is not Act.REPLY:
            code = _pick(choices, pick) if choices else None
            return (Step(do=does, after=delivered, error_code=code),)
        deliver = Step(do=Act.DELIVER, after=delivered)
        if number in self._answered:
            return (deliver,)
        self._answered.add(number)
        replied = delivered + _between(config.replied_after_seconds, pick)
        return (deliver, Step(do=Act.REPLY, after=replied, text=_pick(choices, pick)))


def _usual_behaviour(weights: PeopleWeights, share: float) -> tuple[Act, tuple[str, ...]]:
    """Choose what happens after a message; also return the possible texts or error codes.

    Args:
        share: A random number from 0 to 1, which decides the action.
    """
    kinds = (
        (weights.stop, Act.REPLY, STOPS),
        (weights.failed, Act.FAIL, FAILURE_CODES),
        (weights.undelivered, Act.UNDELIVER, UNDELIVERED_CODES),
        (weights.reply, Act.REPLY, REPLIES),
    )
    edge = 0.0
    for weight, does, choices in kinds:
        edge += weight
        if share < edge:
            return does, choices
    return Act.DELIVER, ()


def read_script(steps: list[dict[str, Any]]) -> tuple[Step, ...]:
    """Return the steps of a script such as ``[{"do": "reply", "after": 1.5, "text": "STOP"}]``.

    Raises:
        ValueError: A step has no action, an unknown action, or an unknown field.
    """
    try:
        return tuple(Step(**{**step, "do": Act(str(step["do"]))}) for step in steps)
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"a step has a wrong or missing field ({error}). The fields are `do`, `after`, `text`, "
            "`error_code`, `times`, `on_text` and `answered`"
        ) from error


def is_stop(text: str) -> bool:
    """Return True if a reply is an opt-out: a stop word of the provider, or one of ``STOPS``.

    After a stop word, such as STOP, the provider refuses messages to the person. ``STOPS`` are the
    texts with which simulated people opt out.
    """
    return text.strip().upper() in PROVIDER_STOP_WORDS or text in STOPS


def _fractions(number: str, seed: int) -> tuple[float, float, float]:
    digest = blake2b(f"{seed}:{number}".encode(), digest_size=24).digest()
    whole = 2.0**64
    first, second, third = (
        int.from_bytes(digest[start : start + 8]) / whole for start in (0, 8, 16)
    )
    return first, second, third


def _pick(choices: tuple[str, ...], fraction: float) -> str:
    return choices[int(fraction * len(choices))]


def _between(bounds: tuple[float, float], fraction: float) -> float:
    low, high = bounds
    return low + (high - low) * fraction

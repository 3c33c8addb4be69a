"""The simulated people: what a number does when a message arrives."""

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from crm_api.dev.sandbox.config import PeopleWeights, SandboxConfig
from crm_api.domain.monitoring.sandbox_control.schemas import Act

PROVIDER_STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
PROVIDER_START_WORDS = frozenset({"START", "UNSTOP"})
BLOCKED_CODE = "21610"
"""Error code of a send to a number that the provider has blocked; inferred, not documented."""

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
    """One action, so many seconds after the message was accepted.

    Attributes:
        times: How often its event is sent, for a provider that repeats itself.
        on_text: Only on the number's first, second … message; None is on each.
        answered: For a call: a person answered it.
    """

    do: Act
    after: float = 0.0
    text: str = "OK"
    error_code: str | None = None
    times: int = 1
    on_text: int | None = None
    answered: bool = True


class People:
    """Decides by script if there is one, else by the number alone."""

    def __init__(self) -> None:
        self.scripts: dict[str, tuple[Step, ...]] = {}
        """By number, or by its prefix and a star; ``*`` is every number."""
        self.blocked: set[str] = set()
        """Numbers that sent one of the provider's own stop words."""
        self._answered: set[str] = set()
        self._texts: Counter[str] = Counter()

    def reset(self) -> None:
        """Delete scripts, blocks and the record of who has answered."""
        self.scripts.clear()
        self.blocked.clear()
        self._answered.clear()
        self._texts.clear()

    def script_of(self, number: str) -> tuple[Step, ...] | None:
        """Return the script of a number, else that of its longest prefix; None if there is none."""
        if number in self.scripts:
            return self.scripts[number]
        for length in range(len(number), -1, -1):
            script = self.scripts.get(number[:length] + "*")
            if script is not None:
                return script
        return None

    def note_incoming(self, number: str, text: str) -> None:
        """Record an incoming message, and apply the provider's own stop and start words."""
        self._answered.add(number)
        word = text.strip().upper()
        if word in PROVIDER_STOP_WORDS:
            self.blocked.add(number)
        elif word in PROVIDER_START_WORDS:
            self.blocked.discard(number)

    def steps_for(self, number: str, config: SandboxConfig) -> tuple[Step, ...]:
        """Return what follows when this number gets a message.

        A person answers only the first message that reaches them; otherwise two machines could talk
        to each other for ever.
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
    """Return what a person of this share does, with the texts or codes to choose from."""
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
    """Read ``[{"do": "reply", "after": 1.5, "text": "STOP"}, …]``.

    Raises:
        ValueError: A step has an unknown action or field.
    """
    try:
        return tuple(Step(**{**step, "do": Act(str(step["do"]))}) for step in steps)
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"a step takes do, after, text, error_code, times, on_text, answered: {error}"
        ) from error


def is_stop(text: str) -> bool:
    """Return True if this text of a simulated person asks to stop."""
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

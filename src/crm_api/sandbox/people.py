"""The people at the other end: what a number does when a text arrives there."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from crm_api.sandbox.config import PeopleWeights, SandboxConfig

PROVIDER_STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
PROVIDER_START_WORDS = frozenset({"START", "UNSTOP"})
BLOCKED_CODE = "21610"
"""What a send to someone whom the provider has blocked ends with; inferred, not documented."""

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


class Act(StrEnum):
    """What can happen to a text, or come back."""

    DELIVER = "deliver"
    FAIL = "fail"
    UNDELIVER = "undeliver"
    REPLY = "reply"
    CALL = "call"
    """They ring the line that texted them."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing, so many seconds after the text was accepted.

    Attributes:
        times: How often its event is told, as when a provider repeats itself.
        on_text: Only on the number's first, second … text; None is on each.
        answered: Of a call: somebody took it.
    """

    do: Act
    after: float = 0.0
    text: str = "OK"
    error_code: str | None = None
    times: int = 1
    on_text: int | None = None
    answered: bool = True


class People:
    """Decides by script where there is one, else by the number alone."""

    def __init__(self) -> None:
        self.scripts: dict[str, tuple[Step, ...]] = {}
        """By number, or by its beginning and a star; ``*`` is everybody."""
        self.blocked: set[str] = set()
        """Numbers that sent one of the provider's own stop words."""
        self._answered: set[str] = set()
        self._texts: Counter[str] = Counter()

    def reset(self) -> None:
        """Forget scripts, blocks and who has answered."""
        self.scripts.clear()
        self.blocked.clear()
        self._answered.clear()
        self._texts.clear()

    def script_of(self, number: str) -> tuple[Step, ...] | None:
        """Return the script of a number, else that of its longest written beginning."""
        if number in self.scripts:
            return self.scripts[number]
        for length in range(len(number), -1, -1):
            script = self.scripts.get(number[:length] + "*")
            if script is not None:
                return script
        return None

    def said(self, number: str, text: str) -> None:
        """Note that this person texted, and keep the provider's own block by its words."""
        self._answered.add(number)
        word = text.strip().upper()
        if word in PROVIDER_STOP_WORDS:
            self.blocked.add(number)
        elif word in PROVIDER_START_WORDS:
            self.blocked.discard(number)

    def steps_for(self, number: str, config: SandboxConfig) -> tuple[Step, ...]:
        """Return what follows when this number gets a text.

        A person answers only the first text that reaches them, else two machines could talk.
        """
        script = self.script_of(number) if self.scripts else None
        if script is not None:
            self._texts[number] += 1
            return tuple(one for one in script if one.on_text in (None, self._texts[number]))
        if number in self.blocked:
            return (Step(do=Act.FAIL, after=0.1, error_code=BLOCKED_CODE),)
        if config.people == "silent":
            return ()
        share, pick, haste = _fractions(number, config.seed)
        delivered = _between(config.delivered_after_seconds, haste)
        does, words = _nature(config.people, share)
        if does is not Act.REPLY:
            code = _pick(words, pick) if words else None
            return (Step(do=does, after=delivered, error_code=code),)
        deliver = Step(do=Act.DELIVER, after=delivered)
        if number in self._answered:
            return (deliver,)
        self._answered.add(number)
        replied = delivered + _between(config.replied_after_seconds, pick)
        return (deliver, Step(do=Act.REPLY, after=replied, text=_pick(words, pick)))


def _nature(weights: PeopleWeights, share: float) -> tuple[Act, tuple[str, ...]]:
    """Return what a person of this share does, with the words or codes to choose from."""
    natures = (
        (weights.stop, Act.REPLY, STOPS),
        (weights.failed, Act.FAIL, FAILURE_CODES),
        (weights.undelivered, Act.UNDELIVER, UNDELIVERED_CODES),
        (weights.reply, Act.REPLY, REPLIES),
    )
    edge = 0.0
    for weight, does, words in natures:
        edge += weight
        if share < edge:
            return does, words
    return Act.DELIVER, ()


def read_script(steps: list[dict[str, Any]]) -> tuple[Step, ...]:
    """Read ``[{"do": "reply", "after": 1.5, "text": "STOP"}, …]``.

    Raises:
        ValueError: An unknown word or field.
    """
    try:
        return tuple(Step(**{**step, "do": Act(str(step["do"]))}) for step in steps)
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"a step takes do, after, text, error_code, times, on_text, answered: {error}"
        ) from error


def is_stop(text: str) -> bool:
    """Say whether a scripted person asked to stop with this text."""
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

"""What must hold for one number's consent, by the rules alone (Invariant 8, bounded times)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

ANSWERED_WITHIN = timedelta(days=1)


class Act(StrEnum):
    """Effect of a decision; the later ones are stricter."""

    OPT_IN = "opt_in"
    RELEASE = "release"
    HOLD = "hold"
    OPT_OUT = "opt_out"


class Word(StrEnum):
    """What a person may write."""

    STOP = "STOP"
    UNSUBSCRIBE = "Unsubscribe"
    ASKED = "please stop texting me"
    REVOKE = "REVOKE"
    START = "START"
    UNSTOP = "unstop"
    DOUBTFUL = "You have the wrong person"
    HELP = "HELP"
    PLAIN = "Yes, Tuesday works"


BY_PROVIDER = {Word.STOP, Word.UNSUBSCRIBE}
"""The provider itself confirms these."""
ACT_OF = {
    Word.STOP: Act.OPT_OUT,
    Word.UNSUBSCRIBE: Act.OPT_OUT,
    Word.ASKED: Act.OPT_OUT,
    Word.REVOKE: Act.OPT_OUT,
    Word.START: Act.OPT_IN,
    Word.UNSTOP: Act.OPT_IN,
    Word.DOUBTFUL: Act.HOLD,
}


@dataclass(frozen=True)
class Said:
    """A message as it was received.

    Attributes:
        at: The instant that the provider claims, at most the receipt.
    """

    message_id: str
    word: Word
    at: datetime
    received_at: datetime


@dataclass
class ConsentModel:
    """One number.

    Attributes:
        confirmations: Most confirmations that may have been sent so far.
        helps: The same for answers to HELP.
    """

    decisions: list[tuple[datetime, bool, int, int, Act]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    confirmations: int = 0
    helps: int = 0

    @property
    def standing(self) -> set[str]:
        """The flags that belong on the number."""
        flags: set[str] = set()
        for *_, act in sorted(self.decisions):
            if act is Act.OPT_OUT:
                flags = {"opted_out"}
            elif act is Act.OPT_IN:
                flags = set()
            elif act is Act.HOLD and not flags:
                flags = {"opt_out_hold"}
            elif act is Act.RELEASE:
                flags -= {"opt_out_hold"}
        return flags

    @property
    def is_out(self) -> bool:
        return "opted_out" in self.standing

    def decide(self, act: Act, *, at: datetime) -> None:
        """Apply a decision of the office; of two such decisions the later made counts."""
        if act is not Act.RELEASE or "opt_out_hold" in self.standing:
            self.decisions.append((at, True, 0, len(self.decisions), act))

    def hear(self, said: Said, *, applied_at: datetime) -> None:
        """Apply a message; one that is known changes nothing."""
        if said.message_id in self.known:
            return
        self.known.add(said.message_id)
        is_fresh = applied_at - said.at <= ANSWERED_WITHIN
        if said.word is Word.HELP:
            self.helps += is_fresh
        act = ACT_OF.get(said.word)
        if act is None:
            return
        was_out = self.is_out
        strictness = list(Act).index(act)
        self.decisions.append((said.at, False, strictness, len(self.decisions), act))
        if act is Act.OPT_OUT and said.word not in BY_PROVIDER:
            self.confirmations += is_fresh and self.is_out and not was_out

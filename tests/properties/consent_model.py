"""Model of one number's consent, made from the rules alone (Invariant 8: times are bounded)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

ANSWERED_WITHIN = timedelta(days=1)


class Act(StrEnum):
    """Effect of a decision about consent, from the least to the most strict."""

    OPT_IN = "opt_in"
    RELEASE = "release"
    HOLD = "hold"
    OPT_OUT = "opt_out"


class Word(StrEnum):
    """The messages that a person may write."""

    STOP = "STOP"
    UNSUBSCRIBE = "Unsubscribe"
    EXPLAINED = "please stop texting me"
    REVOKE = "REVOKE"
    START = "START"
    UNSTOP = "unstop"
    DOUBTFUL = "You have the wrong person"
    HELP = "HELP"
    PLAIN = "Yes, Tuesday works"


BY_PROVIDER = {Word.STOP, Word.UNSUBSCRIBE}
"""Messages whose opt-out the provider itself confirms."""
ACT_OF = {
    Word.STOP: Act.OPT_OUT,
    Word.UNSUBSCRIBE: Act.OPT_OUT,
    Word.EXPLAINED: Act.OPT_OUT,
    Word.REVOKE: Act.OPT_OUT,
    Word.START: Act.OPT_IN,
    Word.UNSTOP: Act.OPT_IN,
    Word.DOUBTFUL: Act.HOLD,
}


@dataclass(frozen=True)
class ReceivedMessage:
    """A message from the person, with its times.

    Attributes:
        at: The instant that the provider claims, or the receipt if the receipt is earlier.
    """

    message_id: str
    word: Word
    at: datetime
    received_at: datetime


@dataclass
class ConsentModel:
    """The expected consent of one number.

    Attributes:
        confirmations: The most confirmations of opt-outs that may have been sent so far.
        helps: The most answers to HELP that may have been sent so far.
    """

    decisions: list[tuple[datetime, bool, int, int, Act]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    confirmations: int = 0
    helps: int = 0

    @property
    def expected_flags(self) -> set[str]:
        """The flags that the number must have."""
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
        return "opted_out" in self.expected_flags

    def decide(self, act: Act, *, at: datetime) -> None:
        """Apply a decision of a user; of two decisions of users, the later decision counts.

        An opt-in of a number on hold only releases the hold.
        """
        if act is Act.OPT_IN and self.expected_flags == {"opt_out_hold"}:
            act = Act.RELEASE
        if act is not Act.RELEASE or "opt_out_hold" in self.expected_flags:
            self.decisions.append((at, True, 0, len(self.decisions), act))

    def apply_message(self, received: ReceivedMessage, *, applied_at: datetime) -> None:
        """Apply a message of the person; a known message changes nothing."""
        if received.message_id in self.known:
            return
        self.known.add(received.message_id)
        is_fresh = applied_at - received.at <= ANSWERED_WITHIN
        if received.word is Word.HELP:
            self.helps += is_fresh
        act = ACT_OF.get(received.word)
        if act is None:
            return
        was_out = self.is_out
        strictness = list(Act).index(act)
        self.decisions.append((received.at, False, strictness, len(self.decisions), act))
        if act is Act.OPT_OUT and received.word not in BY_PROVIDER:
            self.confirmations += is_fresh and self.is_out and not was_out

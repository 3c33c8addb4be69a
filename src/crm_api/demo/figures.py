"""What became of the campaign, told three times: by `stats`, by the store, by the sandbox."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crm_api.demo.api import JSON

REACHED = ("sent", "delivered")
ON_ITS_WAY = ("pending", "sending", "unknown")
FAILED_THERE = ("failed", "undelivered")


@dataclass(frozen=True)
class Check:
    """One figure from up to three witnesses; None where a witness does not know it."""

    name: str
    stats: int | None
    store: int | None
    sandbox: int | None
    wanted: int | None = None

    @property
    def agrees(self) -> bool:
        """True when all who know the figure tell the same, and it is the wanted one."""
        known = {
            value
            for value in (self.stats, self.store, self.sandbox, self.wanted)
            if value is not None
        }
        return len(known) <= 1


@dataclass(frozen=True)
class Witnesses:
    """What was read at one moment.

    Attributes:
        stats: The campaign's figures.
        recipients: Every recipient.
        texts: The campaign's texts that the sandbox accepted.
        answers: Texts that came back from people meanwhile.
        stops: How many of those asked to stop.
    """

    stats: JSON
    recipients: Sequence[JSON]
    texts: Sequence[JSON]
    answers: Sequence[JSON]
    stops: int


def compare(seen: Witnesses) -> list[Check]:
    """Put the figures of the three witnesses side by side."""
    by_status = seen.stats["by_status"]
    store = Counter(one["status"] for one in seen.recipients)
    phones = {one["phone"] for one in seen.recipients}
    sandbox = Counter(text["status"] for text in seen.texts)
    sent_to = Counter(number for text in seen.texts for number in text["to"])
    opted_out = {one["phone"] for one in seen.recipients if one["skip_reason"] == "opted_out"}
    return [
        Check("recipients", seen.stats["recipients_total"], len(seen.recipients), None),
        Check(
            "got a text",
            _sum(by_status, (*REACHED, "failed")),
            sum(1 for one in seen.recipients if one["provider_message_id"]),
            len(sent_to),
        ),
        Check("delivered", by_status["delivered"], store["delivered"], sandbox["delivered"]),
        Check("failed", by_status["failed"], store["failed"], _sum(sandbox, FAILED_THERE)),
        Check(
            "replied",
            seen.stats["replied"],
            sum(1 for one in seen.recipients if one["replied_at"]),
            len({text["from"] for text in seen.answers if text["from"] in phones}),
        ),
        Check("asked to stop", seen.stats["opted_out"], None, seen.stops),
        Check("skipped", by_status["skipped"], store["skipped"], None),
        Check(
            "texted twice",
            None,
            len(seen.recipients) - len(phones),
            sent_to.total() - len(sent_to),
            wanted=0,
        ),
        Check("texted after an opt-out", None, None, len(opted_out & set(sent_to)), wanted=0),
    ]


def waiting(stats: JSON) -> int:
    """Count who has not got to an end yet."""
    return _sum(stats["by_status"], ON_ITS_WAY)


def was_sent(stats: JSON) -> int:
    """Count whose text has left, whatever became of it."""
    return _sum(stats["by_status"], (*REACHED, "failed"))


def skip_reasons(recipients: Iterable[JSON]) -> Counter[str]:
    """Count why people were left out."""
    return Counter(
        one["skip_reason"] or "none given" for one in recipients if one["status"] == "skipped"
    )


def _sum(counts: JSON | Counter[str], names: Sequence[str]) -> int:
    return sum(int(counts[name]) for name in names)

"""Compare figures (counts) of the demo's campaign from three sources.

The sources are the API's ``stats``, the list of recipients, and the sandbox's messages. For
example, the number of delivered messages must be the same in all three.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from crm_api.dev.demo.api import JSON

REACHED = ("sent", "delivered")
ON_ITS_WAY = ("pending", "sending", "unknown")
FAILED_THERE = ("failed", "undelivered")


@dataclass(frozen=True)
class Check:
    """One figure, with its values from up to three sources.

    Attributes:
        stats: From the API's ``stats``; None if ``stats`` does not contain the figure.
        store: Counted in the list of recipients; None if it cannot be counted there.
        sandbox: Counted in the sandbox's messages; None if it cannot be counted there.
        wanted: The value that the figure must have; None if any value is right.
    """

    name: str
    stats: int | None
    store: int | None
    sandbox: int | None
    wanted: int | None = None

    @property
    def agrees(self) -> bool:
        """True if all sources have the same value of the figure, and ``wanted`` equals this value.

        A source whose value is None is ignored. ``wanted`` is ignored if it is None.
        """
        known = {
            value
            for value in (self.stats, self.store, self.sandbox, self.wanted)
            if value is not None
        }
        return len(known) <= 1


@dataclass(frozen=True)
class FigureCheck:
    """One figure of ``GET /v1/insight``, and its numerator from up to three sources.

    Attributes:
        name: The name of the measure.
        figure: The figure, formatted for printing.
        counted: The numerator that the API returns with the figure.
        rows: The numerator, computed from the list of the figure's records.
        recorded: The numerator that the demo expects; None if any numerator is right.
    """

    name: str
    figure: str
    counted: Decimal
    rows: Decimal
    recorded: int | None

    @property
    def agrees(self) -> bool:
        """True if the three values of the numerator are equal.

        The values are ``counted``, ``rows`` and ``recorded``. If ``recorded`` is None, only the
        other two are compared.
        """
        return self.counted == self.rows and self.recorded in {None, int(self.counted)}


@dataclass(frozen=True)
class Snapshot:
    """The data for one comparison of a campaign's figures.

    Attributes:
        stats: The API's ``stats`` of the campaign.
        texts: The campaign's messages that the sandbox has accepted.
        answers: The messages of simulated people since the campaign's start.
        stops: The number of replies since the campaign's start that the sandbox counts as opt-outs.
    """

    stats: JSON
    recipients: Sequence[JSON]
    texts: Sequence[JSON]
    answers: Sequence[JSON]
    stops: int


def compare(snapshot: Snapshot) -> list[Check]:
    """Return several counts of a campaign, each from up to three sources.

    The sources are the API's ``stats``, the list of recipients, and the sandbox.
    """
    by_status = snapshot.stats["by_status"]
    store = Counter(one["status"] for one in snapshot.recipients)
    phones = {one["phone"] for one in snapshot.recipients}
    sandbox = Counter(text["status"] for text in snapshot.texts)
    sent_to = Counter(number for text in snapshot.texts for number in text["to"])
    opted_out = {one["phone"] for one in snapshot.recipients if one["skip_reason"] == "opted_out"}
    return [
        Check("recipients", snapshot.stats["recipients_total"], len(snapshot.recipients), None),
        Check(
            "got a message",
            _sum(by_status, (*REACHED, "failed")),
            sum(1 for one in snapshot.recipients if one["provider_message_id"]),
            len(sent_to),
        ),
        Check("delivered", by_status["delivered"], store["delivered"], sandbox["delivered"]),
        Check("failed", by_status["failed"], store["failed"], _sum(sandbox, FAILED_THERE)),
        Check(
            "replied",
            snapshot.stats["replied"],
            sum(1 for one in snapshot.recipients if one["replied_at"]),
            len({text["from"] for text in snapshot.answers if text["from"] in phones}),
        ),
        Check("asked to stop", snapshot.stats["opted_out"], None, snapshot.stops),
        Check("skipped", by_status["skipped"], store["skipped"], None),
        Check(
            "got two messages",
            None,
            len(snapshot.recipients) - len(phones),
            sent_to.total() - len(sent_to),
            wanted=0,
        ),
        Check(
            "got a message after an opt-out", None, None, len(opted_out & set(sent_to)), wanted=0
        ),
    ]


def waiting(stats: JSON) -> int:
    """Return the number of recipients without a final status."""
    return _sum(stats["by_status"], ON_ITS_WAY)


def was_sent(stats: JSON) -> int:
    """Return the number of sent messages in ``stats``, including those that failed afterwards."""
    return _sum(stats["by_status"], (*REACHED, "failed"))


def skip_reasons(recipients: Iterable[JSON]) -> Counter[str]:
    """Return the number of skipped recipients by skip reason."""
    return Counter(
        one["skip_reason"] or "none given" for one in recipients if one["status"] == "skipped"
    )


def _sum(counts: JSON | Counter[str], names: Sequence[str]) -> int:
    return sum(int(counts[name]) for name in names)

"""How fast and how well incoming texts are read for an opt-out; `docs/opt-out.md` has the figures.

The speed is that of one core (processor time, for the machine may be shared) over the labelled
texts. The floor is what no reading can do without: the same texts folded (case, accents), taken
apart into words, and the whole looked up among the exact words. Rounds alternate, medians count.
"""

import re
import statistics
import time
import unicodedata
from collections.abc import Callable

from tests.domain.consent.labelled import LABELS, Figures, Labelled, load

from crm_api.domain.consent.words import PROVIDER_WORDS, read

ROUNDS, PASSES = 9, 3
TARGET_PER_SECOND = 20_000
_WORD = re.compile(r"[a-z0-9]+")
_EXACT = frozenset(word.lower() for word in PROVIDER_WORDS)


def main() -> None:
    """Measure, and print the figures."""
    texts = load()
    bodies = [one.text for one in texts]
    rates = [(_rate(read, bodies), _rate(_floor, bodies)) for _ in range(ROUNDS)]
    subject = statistics.median(rate for rate, _ in rates)
    floor = statistics.median(rate for _, rate in rates)
    verdict = "met" if subject >= TARGET_PER_SECOND else "MISSED"
    print(
        f"opt-out reader: {subject:,.0f} texts/s on one core "
        f"(target {TARGET_PER_SECOND:,}: {verdict}); {1e6 / subject:.0f} us a text\n"
        f"floor, fold, split and one look-up: {floor:,.0f} texts/s; "
        f"the reader takes {floor / subject:.1f} times as long"
    )
    for half in ("development", "held_out", ""):
        _report(half or "all", [one for one in texts if not half or one.half == half])
    print("misread:")
    for one, kind in Figures.of(texts).wrong:
        print(f"  {one.half:11} {one.label:8} read as {kind:8} {one.text}")


def _floor(text: str) -> bool:
    folded = unicodedata.normalize("NFKD", text).casefold()
    return " ".join(_WORD.findall(folded)) in _EXACT


def _rate(act: Callable[[str], object], bodies: list[str]) -> float:
    begun = time.process_time()
    for _ in range(PASSES):
        for body in bodies:
            act(body)
    return PASSES * len(bodies) / (time.process_time() - begun)


def _report(name: str, texts: list[Labelled]) -> None:
    figures = Figures.of(texts)
    print(
        f"{name}: {len(texts)} texts, recall counting holds {figures.recall:.4f}, "
        f"at once {figures.recall_at_once:.4f}, precision of those at once {figures.precision:.4f}"
    )
    for label in LABELS:
        cells = ", ".join(f"{kind} {figures.counts[label, kind]}" for kind in LABELS)
        print(f"  labelled {label:8} read as {cells}")


if __name__ == "__main__":
    main()

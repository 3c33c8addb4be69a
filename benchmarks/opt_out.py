"""Measure how fast replies are read, and how much memory the reply reader needs.

The speed is measured on one core, in processor time, because other processes may use the machine.
The labelled replies are read in batches of a hundred, as the worker does, and one by one. The
measurements alternate in each round, and the medians of the rounds are the result. The floor (least
possible work) is to fold the text (normalise its quotes, dashes and spaces) and to split it into
words, which every reading must do.

The memory is the difference between the peak of a process that has imported `crm_api` and read one
reply, and the peak of a process without the reader. It includes numpy, which no other part of the
service uses. A batch of a hundred replies needs more memory for a short time, which is measured
separately.

`make opt-out-model` prints how often replies are read correctly.
`docs/explanation/reply-reading.md` contains the results.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from tests.opt_out import data

from benchmarks.figures import Figure, medians, show
from crm_api.domain.consent.reply_reader import analysis, reader

ROUNDS = 7
BATCH = 100
BATCHES = f"batches of {BATCH}"
TARGET_PER_SECOND = 10_000
TARGET_MEGABYTES = 25


def main(rounds: int = ROUNDS, texts: int | None = None) -> Iterator[Figure]:
    """Run the benchmark; yield the replies read per second of processor time, and the memory."""
    base = _memory_of_a_process("import crm_api")
    yield Figure(
        name="memory of the reader",
        value=_memory_of_a_process(LOAD) - base,
        unit="MB",
        wanted=TARGET_MEGABYTES,
        is_lower_better=True,
    )
    for name, code in (("of it numpy", "import crm_api, numpy"), ("while it reads", LOAD + WORK)):
        yield Figure(
            name=f"memory, {name}",
            value=_memory_of_a_process(code) - base,
            unit="MB",
            is_lower_better=True,
        )
    yield from medians(_round([one.text for one in data.load()[:texts]]) for _ in range(rounds))


def _round(texts: Sequence[str]) -> Iterator[Figure]:
    def read_batch(batch: Sequence[str]) -> None:
        reader.read_replies(batch, [reader.NO_CONTEXT] * len(batch))

    def read_each(batch: Sequence[str]) -> None:
        for text in batch:
            reader.read_reply(text)

    def floor(batch: Sequence[str]) -> None:
        for text in batch:
            analysis.fold(text).split()

    acts = {BATCHES: read_batch, "one by one": read_each, "floor": floor}
    rates = {name: _rate(act, texts) for name, act in acts.items()}
    for name, rate in rates.items():
        yield Figure(
            name=f"texts a second, {name}",
            value=rate,
            unit="/s",
            wanted=TARGET_PER_SECOND if name == BATCHES else None,
            cpu_ms=1000 / rate,
        )
    yield Figure(name="batches of the floor", value=rates[BATCHES] / rates["floor"], unit="x")


LOAD = """
import crm_api
from crm_api.domain.consent.reply_reader.reader import NO_CONTEXT, read_replies, read_reply
read_reply("please do not write to me")
"""
WORK = """
text = "Hi this is Dana, we sold the house on Elm Street last year so please take us off your list"
read_replies([text] * 100, [NO_CONTEXT] * 100)
"""


def _memory_of_a_process(code: str) -> float:
    """Return the peak memory in megabytes of a new Python process that runs this code."""
    shown = "print(open('/proc/self/status').read())"
    done = subprocess.run(  # noqa: S603 - this interpreter, with code from above
        [sys.executable, "-c", f"{code}\n{shown}"], check=True, capture_output=True, text=True
    )
    found = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    if found is None:
        message = "the peak of a process is read from /proc, which only Linux has"
        raise RuntimeError(message)
    return int(found.group(1)) / 1024


def _rate(act: Callable[[Sequence[str]], None], texts: Sequence[str]) -> float:
    begun = time.process_time()
    for start in range(0, len(texts), BATCH):
        act(texts[start : start + BATCH])
    return len(texts) / (time.process_time() - begun)


if __name__ == "__main__":
    show(main())

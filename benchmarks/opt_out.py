"""Measure how fast replies are read, and how much memory the reply reader needs.

The speed is measured on one core, in processor time, because other processes may use the machine.
The labelled replies are read in batches of a hundred, as the worker does, and one by one. Rounds
alternate and the medians count; the best round shows the speed of an idle machine. The floor is to
fold the text and split it into words, which every reading must do.

The memory is the difference between the peak of a process that has imported `crm_api` and read one
reply, and the peak without the reader. It includes numpy, which no other part of the service uses.
A batch of a hundred replies needs more memory for a short time, which is measured separately.

`make opt-out-model` prints how often replies are read correctly.
`docs/explanation/reply-reading.md` contains the results.
"""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tests.opt_out import data

from crm_api.domain.consent.reply_reader import analysis, reader

ROUNDS = 7
BATCH = 100
TARGET_PER_SECOND = 10_000
TARGET_MEGABYTES = 25


def main() -> None:
    """Run the benchmark and print the results."""
    base = _memory_of_a_process("import crm_api")
    memory = _memory_of_a_process(LOAD) - base
    numpy = _memory_of_a_process("import crm_api, numpy") - base
    at_work = _memory_of_a_process(LOAD + WORK) - base
    texts = [one.text for one in data.load()]

    def read_batch(batch: Sequence[str]) -> None:
        reader.read_replies(batch, [reader.NO_CONTEXT] * len(batch))

    def read_each(batch: Sequence[str]) -> None:
        for text in batch:
            reader.read_reply(text)

    def floor(batch: Sequence[str]) -> None:
        for text in batch:
            analysis.fold(text).split()

    acts = {"batches of 100": read_batch, "one by one": read_each, "floor": floor}
    rates = {name: [] for name in acts}  # type: dict[str, list[float]]
    for _ in range(ROUNDS):
        for name, act in acts.items():
            rates[name].append(_rate(act, texts))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, rate in medians.items():
        best = max(rates[name])
        print(f"opt-out reader, {name}: {rate:,.0f} texts/s on one core (best {best:,.0f})")
    verdict = "met" if medians["batches of 100"] >= TARGET_PER_SECOND else "MISSED"
    print(f"target {TARGET_PER_SECOND:,} texts/s in batches: {verdict}")
    verdict = "met" if memory <= TARGET_MEGABYTES else "MISSED"
    print(f"memory of the reader: {memory:.1f} MB, of which numpy {numpy:.1f} MB")
    print(f"while it reads a hundred texts at once: {at_work:.1f} MB")
    print(f"target {TARGET_MEGABYTES} MB: {verdict}")


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
    main()

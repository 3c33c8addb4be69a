"""`make bench`: run all benchmarks one after the other; each can also be run alone by its name."""

import time

from benchmarks import (
    answers,
    apply,
    batch,
    consent_chain,
    contacts,
    cost,
    drain,
    events,
    importing,
    intake,
    lag,
    opt_out,
    planning,
    reading,
    reconciliation,
    segments,
    starting,
    webhooks_out,
)

BENCHMARKS = {
    "intake": intake.main,
    "apply": apply.main,
    "lag": lag.main,
    "reconciliation": reconciliation.main,
    "drain": drain.main,
    "planning": planning.main,
    "answers": answers.main,
    "starting": starting.main,
    "cost": cost.main,
    "importing": importing.main,
    "contacts": contacts.main,
    "reading": reading.main,
    "opt_out": opt_out.main,
    "consent_chain": consent_chain.main,
    "events": events.main,
    "webhooks_out": webhooks_out.main,
    "batch": batch.main,
    "segments": segments.main,
}

begun = time.monotonic()
for name, benchmark in BENCHMARKS.items():
    print(f"== {name} (alone: python -m benchmarks.{name})", flush=True)
    benchmark()
print(f"All benchmarks took {(time.monotonic() - begun) / 60:.1f} minutes.")

"""Read the figures that benchmarks of older commits print, if the form of their lines is known."""

import re
from collections.abc import Iterator

from benchmarks.figures import Figure
from benchmarks.table import Arguments

ELSEWHERE = {"pages": ("contacts",)}
"""For the name of a module, the names of older modules that measured the same things."""

_NUMBER = r"(?P<value>[\d,.]+)"
_P95 = rf" +p95 +{_NUMBER} ms"
_IMPORT = (
    rf" +[\d.]+ s +{_NUMBER} rows/s   cpu s: worker (?P<cpu_s>[\d.]+)"
    r"  reader (?P<more_s>[\d.]+)"
)
_SENT = rf"[\d,]+ +{_NUMBER}/s .* sender (?P<cpu_ms>[\d.]+)  postgres (?P<postgres_ms>[\d.]+)"
_PEAK = r" +[\d.]+ s .*peak MB: worker +(?P<value>[\d.]+)"

LINES: dict[str, dict[str, tuple[str, str]]] = {
    "intake": {
        "of the floor": (rf"^  ratio {_NUMBER} ", "x"),
        "webhooks a second": (rf"^  intake +{_NUMBER} requests/s", "/s"),
        "floor": (rf"^  floor +{_NUMBER} requests/s", "/s"),
        "p99": (rf"^  ratio .* p99 {_NUMBER} ms", "ms"),
        "with 64 connections": (rf"^  64 connections / 16: {_NUMBER}", "of 16"),
    },
    "apply": {
        "": (rf"^  (?P<name>\S.*?) +{_NUMBER}/s   worker (?P<cpu_ms>[\d.]+) cpu ms", "/s"),
    },
    "lag": {
        "nothing else: lag p50": (rf"^  lag p50 {_NUMBER} s", "s"),
        "nothing else: lag p99": (rf"^  lag p50 .* s, p99 {_NUMBER} s", "s"),
    },
    "drain": {
        "one worker of the bare client": (rf"^one worker / floor +{_NUMBER}", "x"),
        "messages a second, one worker": (rf"^one worker, {_SENT}", "/s"),
        "messages a second, two workers": (rf"^two workers, {_SENT}", "/s"),
        "two workers of one": (rf"^two workers / one +{_NUMBER}", "x"),
        "floor: one bare client": (rf"^floor: one bare client .*? {_NUMBER}/s", "/s"),
        "floor: two bare clients": (rf"^floor: two bare clients +{_NUMBER}/s", "/s"),
    },
    "importing": {
        "rows a second": (rf"^  commit{_IMPORT}", "/s"),
        "dry run, rows a second": (rf"^  dry run{_IMPORT}", "/s"),
        "undo, rows a second": (rf"^  undo{_IMPORT}", "/s"),
        "peak memory of the worker": (rf"^  commit{_PEAK}", "MB"),
        "of the floor": (rf"^  of the floor: {_NUMBER}", "x"),
    },
    "starting": {
        "no rule: recipients a second": (r"^start for [\d,]+: (?P<seconds>[\d.]+) s", "/s"),
        "every rule: recipients a second": (
            r"^start for .* every rule (?P<seconds>[\d.]+) s",
            "/s",
        ),
    },
    "contacts": {
        # The times of pages are not read, because no worker sent messages during their measurement.
        "export, rows a second": (rf"^export: .*? s, {_NUMBER}/s", "/s"),
    },
    "reading": {
        "": (
            rf"^(?P<name>[+b]\S?.*?) +\d+ +{_NUMBER} +-?[\d.]+ +(?P<cpu_ms>[\d.]+) +-?[\d.]+$",
            "of the floor",
        ),
    },
    "reconciliation": {
        "from nothing: items a second": (rf"^  from nothing +{_NUMBER} items/s", "/s"),
        "nothing missing: items a second": (rf"^  nothing missing +{_NUMBER} items/s", "/s"),
    },
    "webhooks_out": {
        "delivered and recorded": (rf"^delivered .* s, {_NUMBER}/s", "/s"),
        "handed out, events a second": (rf"^handed out: {_NUMBER} events/s", "/s"),
    },
    "consent_chain": {
        "linked, entries a second": (rf"^linked: {_NUMBER} entries/s", "/s"),
        "verified, entries a second": (rf"^verified: {_NUMBER} entries/s", "/s"),
    },
    "batch": {
        "new numbers: 500 upserts": (rf"^batch of 500 .* new numbers: +{_NUMBER} ms", "ms"),
        "known numbers: 500 upserts": (rf"^batch of 500 .* known numbers: +{_NUMBER} ms", "ms"),
    },
}
"""For each benchmark, a pattern and a unit for each figure."""


def read_printed(benchmark: str, output: str, arguments: Arguments) -> list[Figure]:
    """Return the figures in the output of a benchmark; empty if the form of no line is known."""
    found: dict[str, Figure] = {}
    for name, (pattern, unit) in LINES.get(benchmark, {}).items():
        for figure in _matches(name, pattern, unit, output, arguments):
            found.setdefault(figure.name, figure)
    return list(found.values())


def _matches(
    name: str, pattern: str, unit: str, output: str, arguments: Arguments
) -> Iterator[Figure]:
    for match in re.finditer(pattern, output, re.MULTILINE):
        groups = {key: value for key, value in match.groupdict().items() if value is not None}
        cpu_ms = _number(groups.get("cpu_ms"))
        if "cpu_s" in groups:
            seconds = float(groups["cpu_s"]) + float(groups["more_s"])
            cpu_ms = seconds / arguments["rows"] * 1000
        value = _number(groups.get("value"))
        if value is None:
            value = arguments["people"] / float(groups["seconds"])
        yield Figure(
            name=groups.get("name", name),
            value=value,
            unit=unit,
            cpu_ms=cpu_ms,
            postgres_ms=_number(groups.get("postgres_ms")),
        )


def _number(text: str | None) -> float | None:
    return None if text is None else float(text.replace(",", ""))

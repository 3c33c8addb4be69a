"""The figures as Prometheus metric families: names, units and meanings.

An event in the past is exported as its timestamp (`time() - x` is its age in a query). Waiting
work is exported as the age of the oldest item, 0 when there is none.

Source: Prometheus documentation, "Metric and label naming" and "Instrumentation", read 2026-11-26.
"""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from crm_api.domain.inbound.reconciliation.models import RunStatus
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus
from crm_api.domain.monitoring.system_metrics.figures import Figures, Unclear

UNCLEAR_STATES = ("unknown", "parked")


def collect(figures: Figures | None) -> Iterator[Metric]:
    """Yield every family, zeros included; only ``crm_database_up`` when ``figures`` is None."""
    answers = _gauge(
        "crm_database_up",
        "1 when the database answered this scrape; otherwise its figures are missing.",
    )
    answers.add_metric([], int(figures is not None))
    yield answers
    if figures is not None:
        for part in _PARTS:
            yield from part(figures)


def _reconciliation(figures: Figures) -> Iterator[Metric]:
    drift = _gauge(
        "crm_reconciliation_drift_items",
        "Messages and calls that differed from the provider in the last run, by kind.",
        "kind",
    )
    failed = _gauge("crm_reconciliation_last_run_failed", "1 when the last run failed.")
    ended = _gauge("crm_reconciliation_last_end_timestamp_seconds", "When the last run ended.")
    covered = _gauge(
        "crm_reconciliation_covered_until_timestamp_seconds",
        "Up to when completed runs have compared everything with the provider.",
    )
    if (last := figures.last_run) is not None:
        for kind, count in last.drift.items():
            drift.add_metric([kind], count)
        failed.add_metric([], int(last.status is RunStatus.FAILED))
        _add_instant(ended, last.finished_at)
    _add_instant(covered, figures.covered_until)
    yield from (drift, failed, ended, covered)


def _webhooks(figures: Figures) -> Iterator[Metric]:
    events = _gauge(
        "crm_webhook_events",
        "Received events that are not applied: pending, failed (retried automatically), dead "
        "(waits for a replay). Counted up to 100,000.",
        "status",
    )
    for status, count in figures.events.items():
        events.add_metric([status], count)
    oldest = _gauge(
        "crm_webhook_events_oldest_due_seconds",
        "Time since the earliest due time of a received event.",
    )
    oldest.add_metric([], _age(figures.event_due_at, figures.at))
    yield from (events, oldest)


def _endpoints(figures: Figures) -> Iterator[Metric]:
    endpoints = _gauge(
        "crm_webhook_endpoints",
        "Endpoints of webhooks out: well, failing (the last try failed), disabled.",
        "state",
    )
    for state, count in figures.endpoints.items():
        endpoints.add_metric([state], count)
    oldest = _gauge(
        "crm_webhook_deliveries_oldest_due_seconds",
        "Time since the earliest due time of a delivery to an endpoint.",
    )
    oldest.add_metric([], _age(figures.delivery_due_at, figures.at))
    yield from (endpoints, oldest)


def _sends(figures: Figures) -> Iterator[Metric]:
    unclear = _gauge(
        "crm_sends_unclear",
        "Messages whose outcome is unclear: unknown (is looked up), parked (waits for a person).",
        "state",
    )
    oldest = _gauge(
        "crm_sends_unclear_oldest_seconds",
        "Age of the oldest message whose outcome is unclear.",
        "state",
    )
    for state in UNCLEAR_STATES:
        one = figures.unclear.get(state, Unclear())
        unclear.add_metric([state], one.count)
        oldest.add_metric([state], _age(one.since, figures.at))
    due = _gauge(
        "crm_texts_oldest_due_seconds",
        "Time since the earliest due time of a message: of a running campaign (hours, pace and "
        "limits may hold it back), or single (replies, confirmations, tests).",
        "kind",
    )
    due.add_metric(["campaign"], _age(figures.campaign_due_at, figures.at))
    due.add_metric(["single"], _age(figures.single_due_at, figures.at))
    yield from (unclear, oldest, due)


def _waiting(figures: Figures) -> Iterator[Metric]:
    texts = _gauge(
        "crm_texts_queued",
        "Messages outside campaigns that wait: replies, confirmations, tests. Counted up to "
        "100,000.",
    )
    texts.add_metric([], figures.single)
    skew = _gauge(
        "crm_clock_skew_seconds",
        "How far the clock of the process that answers is ahead of the database's.",
    )
    skew.add_metric([], figures.skew.total_seconds())
    yield from (texts, skew)


def _people(figures: Figures) -> Iterator[Metric]:
    people = _gauge(
        "crm_recipients",
        "Recipients of campaigns that have not ended, follow-ups included, by status.",
        "status",
    )
    for status in MembershipStatus:
        people.add_metric([status.value], figures.people.get(status.value, 0))
    yield people


def _lines(figures: Figures) -> Iterator[Metric]:
    sent = _gauge("crm_line_texts_today", "Messages that a line has sent today.", "line")
    left = _gauge(
        "crm_line_texts_left_today", "Campaign messages that a line may still send today.", "line"
    )
    blocked = _gauge("crm_line_blocked", "1 while the provider refuses the line.", "line")
    info = _gauge("crm_line_info", "Always 1: the name of a line beside its id.", "line", "line_id")
    for line in figures.lines:
        info.add_metric([line.name, str(line.id)], 1)
        sent.add_metric([line.name], line.sent)
        left.add_metric([line.name], line.left)
        blocked.add_metric([line.name], int(line.is_blocked))
    yield from (info, sent, left, blocked)


def _alerts(figures: Figures) -> Iterator[Metric]:
    alerts = _gauge("crm_alerts", "Unresolved alerts.", "kind", "state")
    for one in figures.alerts:
        alerts.add_metric([one.kind, "acknowledged" if one.is_acknowledged else "open"], one.count)
    circuits = _gauge("crm_circuit_open", "1 while an outside system is considered down.", "system")
    for name, is_open in figures.circuits.items():
        circuits.add_metric([name], int(is_open))
    yield from (alerts, circuits)


def _jobs(figures: Figures) -> Iterator[Metric]:
    runs = CounterMetricFamily("crm_job_runs", "Runs of a scheduled job.", labels=["name"])
    misses = CounterMetricFamily(
        "crm_job_misses",
        "Whole minutes in which a scheduled job neither began nor was under way.",
        labels=["name"],
    )
    began = _gauge("crm_job_last_start_timestamp_seconds", "When its last run began.", "name")
    ended = _gauge("crm_job_last_end_timestamp_seconds", "When a run last ended.", "name")
    took = _gauge("crm_job_last_duration_seconds", "How long the last run took.", "name")
    failed = _gauge("crm_job_last_failed", "1 when the last run failed.", "name")
    for job in figures.jobs:
        runs.add_metric([job.name], job.runs)
        misses.add_metric([job.name], job.misses)
        _add_instant(began, job.last_started_at, job.name)
        _add_instant(ended, job.last_finished_at, job.name)
        if job.duration_ms is not None:
            took.add_metric([job.name], job.duration_ms / 1000)
        if job.last_result is not None:
            failed.add_metric([job.name], int(job.last_result != "ok"))
    yield from (runs, misses, began, ended, took, failed)


def _workers(figures: Figures) -> Iterator[Metric]:
    alive = _gauge("crm_workers", "Worker processes with a heartbeat in the last 90 seconds.")
    alive.add_metric([], figures.workers)
    seen = _gauge("crm_worker_last_seen_timestamp_seconds", "The newest heartbeat of any worker.")
    _add_instant(seen, figures.worker_seen_at)
    yield from (alive, seen)


_PARTS = (
    _reconciliation,
    _webhooks,
    _endpoints,
    _sends,
    _waiting,
    _people,
    _lines,
    _alerts,
    _jobs,
    _workers,
)


def _gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, labels=list(labels))


def _add_instant(family: GaugeMetricFamily, at: datetime | None, *labels: str) -> None:
    if at is not None:
        family.add_metric(labels, at.timestamp())


def _age(since: datetime | None, now: datetime) -> float:
    """Return seconds since then; 0 when there is no such instant, or it is in the future."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())

"""Convert the state of the service to Prometheus metric families with names, units and help texts.

An event in the past is exported as its timestamp; in a query, `time() - x` is its age. Waiting work
is exported as the age of the oldest item, or 0 if nothing waits.

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
    """Yield all metric families, including those whose value is 0.

    ``figures`` is the state of the service, as read from the database. If the database is
    unavailable, ``figures`` is None, and only ``crm_database_up`` is yielded.
    """
    answers = _gauge(
        "crm_database_up",
        "1 if the database responded to this scrape. Otherwise 0; then metrics from the database "
        "are left out.",
    )
    answers.add_metric([], int(figures is not None))
    yield answers
    if figures is not None:
        for part in _PARTS:
            yield from part(figures)


def _reconciliation(figures: Figures) -> Iterator[Metric]:
    drift = _gauge(
        "crm_reconciliation_drift_items",
        "Messages and calls that differed from the provider in the last reconciliation, by kind.",
        "kind",
    )
    failed = _gauge(
        "crm_reconciliation_last_run_failed", "1 if the last reconciliation failed, otherwise 0."
    )
    ended = _gauge(
        "crm_reconciliation_last_end_timestamp_seconds", "When the last reconciliation ended."
    )
    covered = _gauge(
        "crm_reconciliation_covered_until_timestamp_seconds",
        "The time until which completed reconciliations have compared all messages and calls.",
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
        "Received events that are not applied yet: pending (new), failed (retried automatically) "
        "or dead (waits for a replay by a person). The count stops at 100,000.",
        "status",
    )
    for status, count in figures.events.items():
        events.add_metric([status], count)
    oldest = _gauge(
        "crm_webhook_events_oldest_due_seconds",
        "For how long the oldest waiting received event has been due; 0 if none is due.",
    )
    oldest.add_metric([], _age(figures.event_due_at, figures.at))
    yield from (events, oldest)


def _endpoints(figures: Figures) -> Iterator[Metric]:
    endpoints = _gauge(
        "crm_webhook_endpoints",
        "Webhook endpoints of clients: well, failing (the last delivery failed) or disabled.",
        "state",
    )
    for state, count in figures.endpoints.items():
        endpoints.add_metric([state], count)
    oldest = _gauge(
        "crm_webhook_deliveries_oldest_due_seconds",
        "For how long the oldest waiting delivery has been due; 0 if none is due.",
    )
    oldest.add_metric([], _age(figures.delivery_due_at, figures.at))
    yield from (endpoints, oldest)


def _sends(figures: Figures) -> Iterator[Metric]:
    unclear = _gauge(
        "crm_sends_unclear",
        "Messages whose outcome is unclear: unknown (looked up automatically) or parked (waits "
        "for a person).",
        "state",
    )
    oldest = _gauge(
        "crm_sends_unclear_oldest_seconds",
        "Time since the call of the oldest message whose outcome is unclear; 0 if there is none.",
        "state",
    )
    for state in UNCLEAR_STATES:
        one = figures.unclear.get(state, Unclear())
        unclear.add_metric([state], one.count)
        oldest.add_metric([state], _age(one.since, figures.at))
    due = _gauge(
        "crm_texts_oldest_due_seconds",
        "For how long the oldest waiting message has been due; 0 if none is due. campaign: "
        "messages of running campaigns, which hours, pace and limits may delay. single: replies, "
        "confirmations and tests.",
        "kind",
    )
    due.add_metric(["campaign"], _age(figures.campaign_due_at, figures.at))
    due.add_metric(["single"], _age(figures.single_due_at, figures.at))
    yield from (unclear, oldest, due)


def _waiting(figures: Figures) -> Iterator[Metric]:
    texts = _gauge(
        "crm_texts_queued",
        "Messages outside campaigns that wait to be sent: replies, confirmations and tests. The "
        "count stops at 100,000.",
    )
    texts.add_metric([], figures.single)
    skew = _gauge(
        "crm_clock_skew_seconds",
        "How far the clock of the web process that responds is ahead of the database's clock.",
    )
    skew.add_metric([], figures.skew.total_seconds())
    yield from (texts, skew)


def _people(figures: Figures) -> Iterator[Metric]:
    people = _gauge(
        "crm_recipients",
        "Recipients of campaigns that have not ended, by status. A person counts once for each "
        "message of the campaign: the first message and each follow-up.",
        "status",
    )
    for status in MembershipStatus:
        people.add_metric([status.value], figures.people.get(status.value, 0))
    yield people


def _lines(figures: Figures) -> Iterator[Metric]:
    sent = _gauge(
        "crm_line_texts_today",
        "Messages that a phone line has sent today, in the time zone of the line.",
        "line",
    )
    left = _gauge(
        "crm_line_texts_left_today",
        "Campaign messages that a phone line may still send today.",
        "line",
    )
    blocked = _gauge(
        "crm_line_blocked", "1 while the provider refuses the line, otherwise 0.", "line"
    )
    info = _gauge(
        "crm_line_info",
        "Always 1. The labels map the name of a line to its id.",
        "line",
        "line_id",
    )
    for line in figures.lines:
        info.add_metric([line.name, str(line.id)], 1)
        sent.add_metric([line.name], line.sent)
        left.add_metric([line.name], line.left)
        blocked.add_metric([line.name], int(line.is_blocked))
    yield from (info, sent, left, blocked)


def _alerts(figures: Figures) -> Iterator[Metric]:
    alerts = _gauge(
        "crm_alerts",
        "Alerts that are not resolved, by kind and state (open or acknowledged).",
        "kind",
        "state",
    )
    for one in figures.alerts:
        alerts.add_metric([one.kind, "acknowledged" if one.is_acknowledged else "open"], one.count)
    circuits = _gauge(
        "crm_circuit_open",
        "1 while an outside system is considered down and the service makes no calls to it, "
        "otherwise 0.",
        "system",
    )
    for name, is_open in figures.circuits.items():
        circuits.add_metric([name], int(is_open))
    yield from (alerts, circuits)


def _jobs(figures: Figures) -> Iterator[Metric]:
    runs = CounterMetricFamily("crm_job_runs", "Runs of a scheduled job.", labels=["name"])
    misses = CounterMetricFamily(
        "crm_job_misses",
        "Whole minutes in which a scheduled job neither began nor ran.",
        labels=["name"],
    )
    began = _gauge(
        "crm_job_last_start_timestamp_seconds",
        "When the last run of a scheduled job began.",
        "name",
    )
    ended = _gauge(
        "crm_job_last_end_timestamp_seconds",
        "When a run of a scheduled job last ended.",
        "name",
    )
    took = _gauge(
        "crm_job_last_duration_seconds",
        "The duration of the last run of a scheduled job that ended.",
        "name",
    )
    failed = _gauge(
        "crm_job_last_failed",
        "1 if the last run of a scheduled job failed, otherwise 0.",
        "name",
    )
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
    seen = _gauge(
        "crm_worker_last_seen_timestamp_seconds",
        "When a worker process last sent a heartbeat.",
    )
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
    """Return the seconds from ``since`` to ``now``; 0 if ``since`` is None or in the future."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())

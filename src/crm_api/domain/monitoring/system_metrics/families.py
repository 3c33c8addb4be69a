"""Convert the state of the service to Prometheus metric families with names, units and help texts.

A past event is exported as its timestamp: for a metric `x`, the Prometheus query `time() - x`
returns the age of the event. For waiting work, the age of the oldest item is exported; it is 0 if
nothing waits.

Source: Prometheus documentation, "Metric and label naming" and "Instrumentation", read 2026-11-26.
"""

from collections.abc import Iterable, Iterator
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
    yield _single(
        "crm_database_up",
        "1 if the database responded to this scrape. Otherwise 0; then metrics from the database "
        "are left out.",
        int(figures is not None),
    )
    if figures is not None:
        for part in _PARTS:
            yield from part(figures)


def _reconciliation(figures: Figures) -> Iterator[Metric]:
    last = figures.last_run
    yield _gauge(
        "crm_reconciliation_drift_items",
        "Messages and calls that differed from the provider in the last reconciliation, by kind.",
        "kind",
        samples=[] if last is None else [([kind], count) for kind, count in last.drift.items()],
    )
    yield _single(
        "crm_reconciliation_last_run_failed",
        "1 if the last reconciliation failed, otherwise 0.",
        None if last is None else int(last.status is RunStatus.FAILED),
    )
    yield _single(
        "crm_reconciliation_last_end_timestamp_seconds",
        "When the last reconciliation ended.",
        None if last is None else _instant(last.finished_at),
    )
    yield _single(
        "crm_reconciliation_covered_until_timestamp_seconds",
        "The time until which completed reconciliations have compared all messages and calls.",
        _instant(figures.covered_until),
    )


def _webhooks(figures: Figures) -> Iterator[Metric]:
    yield _gauge(
        "crm_webhook_events",
        "Received events that are not applied yet: pending (new), failed (retried automatically) "
        "or dead (waits for a replay by a person). The count stops at 100,000.",
        "status",
        samples=[([status], count) for status, count in figures.events.items()],
    )
    yield _single(
        "crm_webhook_events_oldest_due_seconds",
        "For how long the oldest waiting received event has been due; 0 if none is due.",
        _age(figures.event_due_at, figures.at),
    )


def _endpoints(figures: Figures) -> Iterator[Metric]:
    yield _gauge(
        "crm_webhook_endpoints",
        "Webhook endpoints of clients: well, failing (the last delivery failed) or disabled.",
        "state",
        samples=[([state], count) for state, count in figures.endpoints.items()],
    )
    yield _single(
        "crm_webhook_deliveries_oldest_due_seconds",
        "For how long the oldest waiting delivery has been due; 0 if none is due.",
        _age(figures.delivery_due_at, figures.at),
    )


def _sends(figures: Figures) -> Iterator[Metric]:
    unclear = [(state, figures.unclear.get(state, Unclear())) for state in UNCLEAR_STATES]
    yield _gauge(
        "crm_sends_unclear",
        "Messages whose outcome is unclear: unknown (looked up automatically) or parked (waits "
        "for a person).",
        "state",
        samples=[([state], one.count) for state, one in unclear],
    )
    yield _gauge(
        "crm_sends_unclear_oldest_seconds",
        "Time since the call of the oldest message whose outcome is unclear; 0 if there is none.",
        "state",
        samples=[([state], _age(one.since, figures.at)) for state, one in unclear],
    )
    yield _gauge(
        "crm_texts_oldest_due_seconds",
        "For how long the oldest waiting message has been due; 0 if none is due. campaign: "
        "messages of running campaigns, which hours, pace and limits may delay. single: replies, "
        "confirmations and tests.",
        "kind",
        samples=[
            (["campaign"], _age(figures.campaign_due_at, figures.at)),
            (["single"], _age(figures.single_due_at, figures.at)),
        ],
    )


def _waiting(figures: Figures) -> Iterator[Metric]:
    yield _single(
        "crm_texts_queued",
        "Messages outside campaigns that wait to be sent: replies, confirmations and tests. The "
        "count stops at 100,000.",
        figures.single,
    )
    yield _single(
        "crm_clock_skew_seconds",
        "How far the clock of the web process that responds is ahead of the database's clock.",
        figures.skew.total_seconds(),
    )


def _people(figures: Figures) -> Iterator[Metric]:
    yield _gauge(
        "crm_recipients",
        "Recipients of campaigns that have not ended, by status. A person counts once for each "
        "message of the campaign: the first message and each follow-up.",
        "status",
        samples=[([one.value], figures.people.get(one.value, 0)) for one in MembershipStatus],
    )


def _lines(figures: Figures) -> Iterator[Metric]:
    lines = figures.lines
    yield _gauge(
        "crm_line_info",
        "Always 1. The labels map the name of a line to its id.",
        "line",
        "line_id",
        samples=[([line.name, str(line.id)], 1) for line in lines],
    )
    yield _gauge(
        "crm_line_texts_today",
        "Messages that a phone line has sent today, in the time zone of the line.",
        "line",
        samples=[([line.name], line.sent) for line in lines],
    )
    yield _gauge(
        "crm_line_texts_left_today",
        "Campaign messages that a phone line may still send today.",
        "line",
        samples=[([line.name], line.left) for line in lines],
    )
    yield _gauge(
        "crm_line_blocked",
        "1 while the provider refuses the line, otherwise 0.",
        "line",
        samples=[([line.name], int(line.is_blocked)) for line in lines],
    )


def _alerts(figures: Figures) -> Iterator[Metric]:
    yield _gauge(
        "crm_alerts",
        "Alerts that are not resolved, by kind and state (open or acknowledged).",
        "kind",
        "state",
        samples=[
            ([one.kind, "acknowledged" if one.is_acknowledged else "open"], one.count)
            for one in figures.alerts
        ],
    )
    yield _gauge(
        "crm_circuit_open",
        "1 while an outside system is considered down and the service makes no calls to it, "
        "otherwise 0.",
        "system",
        samples=[([name], int(is_open)) for name, is_open in figures.circuits.items()],
    )


def _jobs(figures: Figures) -> Iterator[Metric]:
    jobs = figures.jobs
    runs = CounterMetricFamily("crm_job_runs", "Runs of a scheduled job.", labels=["name"])
    misses = CounterMetricFamily(
        "crm_job_misses",
        "Whole minutes in which a scheduled job neither began nor ran.",
        labels=["name"],
    )
    for job in jobs:
        runs.add_metric([job.name], job.runs)
        misses.add_metric([job.name], job.misses)
    yield from (runs, misses)
    yield _gauge(
        "crm_job_last_start_timestamp_seconds",
        "When the last run of a scheduled job began.",
        "name",
        samples=[([job.name], _instant(job.last_started_at)) for job in jobs],
    )
    yield _gauge(
        "crm_job_last_end_timestamp_seconds",
        "When a run of a scheduled job last ended.",
        "name",
        samples=[([job.name], _instant(job.last_finished_at)) for job in jobs],
    )
    yield _gauge(
        "crm_job_last_duration_seconds",
        "The duration of the last run of a scheduled job that ended.",
        "name",
        samples=[
            ([job.name], job.duration_ms / 1000) for job in jobs if job.duration_ms is not None
        ],
    )
    yield _gauge(
        "crm_job_last_failed",
        "1 if the last run of a scheduled job failed, otherwise 0.",
        "name",
        samples=[
            ([job.name], int(job.last_result != "ok"))
            for job in jobs
            if job.last_result is not None
        ],
    )


def _workers(figures: Figures) -> Iterator[Metric]:
    yield _single(
        "crm_workers",
        "Worker processes with a heartbeat in the last 90 seconds.",
        figures.workers,
    )
    yield _single(
        "crm_worker_last_seen_timestamp_seconds",
        "When a worker process last sent a heartbeat.",
        _instant(figures.worker_seen_at),
    )


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


def _single(name: str, meaning: str, value: float | None) -> Metric:
    """Return a Prometheus metric family with one value and no labels.

    If the value is None, the family has no sample.
    """
    return _gauge(name, meaning, samples=[([], value)])


def _gauge(
    name: str, meaning: str, *labels: str, samples: Iterable[tuple[list[str], float | None]]
) -> Metric:
    """Return a Prometheus metric family; leave out each sample whose value is None."""
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family


def _instant(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _age(since: datetime | None, now: datetime) -> float:
    """Return the seconds from ``since`` to ``now``; 0 if ``since`` is None or in the future."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())

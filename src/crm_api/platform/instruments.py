"""Prometheus metrics that a process measures while it works.

Values are in the memory of the process: a measurement costs half a microsecond and cannot fail.
They are in the library's registry beside those of Python and the process;
``metrics_export`` exports them. Metrics that are read from the database belong to the
domain (``operations.metrics``). Labels have few values and identify no person: a route's template,
never a path; a line's id, never its number.
"""

from functools import cache

from prometheus_client import (
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

# The creation time of a series doubles the response, and Prometheus knows it anyway.
disable_created_metrics()  # type: ignore[no-untyped-call] # it has no types

HTTP_ANSWERS = Histogram(
    "crm_http_answer_seconds",
    "From the arrival of a request to the beginning of its answer, by the route's template "
    "(unmatched: answered before one was found, such as 404 and 429), method and class of status.",
    ["route", "method", "status"],
    buckets=(0.005, 0.025, 0.1, 0.5, 2.5),
)
_under_way = Gauge(
    "crm_http_requests_in_flight",
    "Requests that are being answered; streams of events count as long as they last.",
)
POOL_WAIT = Histogram(
    "crm_database_pool_wait_seconds",
    "What it took to get a connection from the pool, opening it included.",
    buckets=(0.001, 0.01, 0.1, 1, 5),
)
POOL_TIMEOUTS = Counter(
    "crm_database_pool_timeouts",
    "Times that no connection became free within ten seconds.",
)
PROVIDER_CALLS = Histogram(
    "crm_provider_call_seconds",
    "Calls to the provider until its answer began, by operation (ids left out) and outcome: 2xx, "
    "4xx, 429, 5xx, timeout, no_answer.",
    ["operation", "outcome"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
LIMITER_WAIT = Histogram(
    "crm_limiter_wait_seconds",
    "How long the provider's rate limit put off a call, or a batch of them.",
    buckets=(0.01, 0.1, 0.5, 1, 5, 30),
)
SENDS = Counter(
    "crm_sends",
    "Calls that sent or tried to send a text, by the line's id and outcome: accepted, refused "
    "(this text), account_refused, later (429), not_connected, too_late, unclear (may have left).",
    ["line_id", "outcome"],
)
SETTLED = Counter(
    "crm_sends_settled",
    "Look-ups of unclear sends, by what they came to: sent, not_found, parked, unknown (asked "
    "again).",
    ["result"],
)
WEBHOOK_LAG = Histogram(
    "crm_webhook_lag_seconds",
    "From the receipt of an event until it was applied.",
    buckets=(0.1, 0.5, 1, 5, 30, 120, 600),
)
WEBHOOKS_RECEIVED = Counter(
    "crm_webhooks_received",
    "Deliveries from the provider: stored, repeated (known already), not_stored (the database was "
    "away; asked to come again), or refused, by the code of the error.",
    ["result"],
)
JOB_RUNS = Histogram(
    "crm_job_run_seconds",
    "Runs of jobs in this process, by result: ok, failed.",
    ["name", "result"],
    buckets=(0.1, 1, 5, 30, 90),
)
LOOP_LAG = Histogram(
    "crm_event_loop_lag_seconds",
    "How late the event loop came back to work that was due, once a second.",
    buckets=(0.005, 0.02, 0.1, 0.5, 2),
)

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class _UnderWay:
    count = 0


UNDER_WAY = _UnderWay()
"""Requests of this process' one event loop. A plain counter: a gauge's own takes two locks."""
_under_way.set_function(lambda: UNDER_WAY.count)


def answered(*, route: str, method: str, status: int, seconds: float) -> None:
    """Measure one response of the API."""
    known = method if method in METHODS else "other"
    _answers(route, known, status // 100).observe(seconds)


# Finding a series by its labels costs more than the measurement.
@cache
def _answers(route: str, method: str, status: int) -> Histogram:
    return HTTP_ANSWERS.labels(route, method, f"{status}xx")

"""Prometheus metrics that each process counts in its own memory while it works.

``metrics_export`` exports them. Metrics that are read from the database are in
``domain/monitoring/system_metrics``.

A label must have few values and must not identify a person. So use the template of a route instead
of a path, and the id of a line instead of a phone number.
"""

from functools import cache

from prometheus_client import (
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

# The library would add the creation time of each metric. This would double the size of the response
# with the metrics, and Prometheus does not need these times.
disable_created_metrics()  # type: ignore[no-untyped-call] # the function has no types

HTTP_ANSWERS = Histogram(
    "crm_http_answer_seconds",
    "Seconds from the arrival of a request until its response began, by route template, method "
    "and class of status. The route is unmatched if the response came before a route was found, "
    "such as 404 and 429.",
    ["route", "method", "status"],
    buckets=(0.005, 0.025, 0.1, 0.5, 2.5),
)
_under_way = Gauge(
    "crm_http_requests_in_flight",
    "Requests without a complete response yet; an event stream counts until it is closed.",
)
POOL_WAIT = Histogram(
    "crm_database_pool_wait_seconds",
    "Seconds until the pool gave a database connection, including the time to open a new one.",
    buckets=(0.001, 0.01, 0.1, 1, 5),
)
POOL_TIMEOUTS = Counter(
    "crm_database_pool_timeouts",
    "Statements that failed because no database connection became free within ten seconds.",
)
PROVIDER_CALLS = Histogram(
    "crm_provider_call_seconds",
    "Seconds from a request to the provider until its response began, by operation (without ids) "
    "and outcome: 2xx, 4xx, 429, 5xx, timeout, no_answer.",
    ["operation", "outcome"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
LIMITER_WAIT = Histogram(
    "crm_limiter_wait_seconds",
    "Seconds that a call to the provider, or a batch of calls, waited for the rate limit.",
    buckets=(0.01, 0.1, 0.5, 1, 5, 30),
)
SENDS = Counter(
    "crm_sends",
    "Calls to the provider that tried to send a message, by line id and outcome: accepted, refused "
    "(this message), account_refused (every message), later (429), not_connected, too_late (not "
    "sent in time), unclear (may have been sent).",
    ["line_id", "outcome"],
)
SETTLED = Counter(
    "crm_sends_settled",
    "Look-ups at the provider of unclear sends, by result: sent, not_found, parked (a person must "
    "decide), unknown (will be looked up again).",
    ["result"],
)
WEBHOOK_LAG = Histogram(
    "crm_webhook_lag_seconds",
    "Seconds from the receipt of a provider's event until its change was written.",
    buckets=(0.1, 0.5, 1, 5, 30, 120, 600),
)
WEBHOOKS_RECEIVED = Counter(
    "crm_webhooks_received",
    "Webhook deliveries from the provider, by result: stored, repeated (stored before), not_stored "
    "(database unreachable, so the provider sends it again), or the error code of a refusal.",
    ["result"],
)
JOB_RUNS = Histogram(
    "crm_job_run_seconds",
    "Seconds that each run of a background job took in this process, by job name and result: ok, "
    "failed.",
    ["name", "result"],
    buckets=(0.1, 1, 5, 30, 90),
)
LOOP_LAG = Histogram(
    "crm_event_loop_lag_seconds",
    "Seconds by which the event loop ran a timer too late, measured once a second.",
    buckets=(0.005, 0.02, 0.1, 0.5, 2),
)

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class _UnderWay:
    count = 0


UNDER_WAY = _UnderWay()
"""Number of requests that are being processed. It is a plain integer, because a ``Gauge`` of the
library takes two locks for each change."""
_under_way.set_function(lambda: UNDER_WAY.count)


def answered(*, route: str, method: str, status: int, seconds: float) -> None:
    """Record in ``crm_http_answer_seconds`` how long the API took to respond to a request."""
    known = method if method in METHODS else "other"
    _answers(route, known, status // 100).observe(seconds)


# The result is cached, because the library takes longer to find a time series by its labels than to
# record a value.
@cache
def _answers(route: str, method: str, status: int) -> Histogram:
    return HTTP_ANSWERS.labels(route, method, f"{status}xx")

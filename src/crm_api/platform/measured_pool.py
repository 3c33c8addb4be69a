"""Database connection pool that records metrics."""

import time
from collections.abc import Iterator
from weakref import WeakSet

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from crm_api.platform import instruments

_POOLS: "WeakSet[MeasuredPool]" = WeakSet()


class MeasuredPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's connection pool that also measures how long callers wait for a connection."""

    # SQLAlchemy uses this name as the logger of the pool. Without it, the name of this module would
    # be used.
    _sqla_logger_namespace = "sqlalchemy.pool.MeasuredPool"

    def dispose(self) -> None:
        """Close the idle connections, and no longer count this pool in the metrics."""
        _POOLS.discard(self)
        super().dispose()

    def _do_get(self) -> ConnectionPoolEntry:
        # The pool is registered for the metrics at its first use, not when it is created. The
        # reason: an engine that is closed creates a new pool, and never uses it.
        _POOLS.add(self)
        began = time.perf_counter()
        try:
            return super()._do_get()
        except PoolTimeoutError:
            instruments.POOL_TIMEOUTS.inc()
            raise
        finally:
            instruments.POOL_WAIT.observe(time.perf_counter() - began)


class _Connections(Collector):
    """Collector that counts the connections in this process' pools at each metrics request."""

    def collect(self) -> Iterator[Metric]:
        pools = list(_POOLS)
        connections = GaugeMetricFamily(
            "crm_database_pool_connections",
            "Database connections in the pool, by state: in_use (by a transaction) or idle. "
            "Excludes the separate connections of the webhook intake and of the look-ups of API "
            "keys and sessions.",
            labels=["state"],
        )
        connections.add_metric(["in_use"], sum(pool.checkedout() for pool in pools))
        connections.add_metric(["idle"], sum(pool.checkedin() for pool in pools))
        most = GaugeMetricFamily(
            "crm_database_pool_size",
            "The largest number of database connections that the pool may open.",
            sum(pool.size() for pool in pools),
        )
        yield from (connections, most)


REGISTRY.register(_Connections())

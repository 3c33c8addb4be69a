"""The engine's connection pool, with metrics."""

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
    """SQLAlchemy's pool, which also measures the wait for a connection."""

    # It logs under SQLAlchemy's name, not as one of our own modules.
    _sqla_logger_namespace = "sqlalchemy.pool.MeasuredPool"

    def dispose(self) -> None:
        """Close all connections; an engine that is used again makes another pool."""
        _POOLS.discard(self)
        super().dispose()

    def _do_get(self) -> ConnectionPoolEntry:
        # Not when it is made: an engine that is disposed of makes one that is never used.
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
    """Counts the connections of this process' pools at each scrape."""

    def collect(self) -> Iterator[Metric]:
        pools = list(_POOLS)
        connections = GaugeMetricFamily(
            "crm_database_pool_connections",
            "Connections of the pool: in_use (of a transaction), idle. Those of the webhook intake "
            "and of look-ups that every request waits for are not of the pool.",
            labels=["state"],
        )
        connections.add_metric(["in_use"], sum(pool.checkedout() for pool in pools))
        connections.add_metric(["idle"], sum(pool.checkedin() for pool in pools))
        most = GaugeMetricFamily(
            "crm_database_pool_size",
            "Connections that the pool may hold.",
            sum(pool.size() for pool in pools),
        )
        yield from (connections, most)


REGISTRY.register(_Connections())

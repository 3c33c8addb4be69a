"""The engine's pool of connections, measured."""

import time
from collections.abc import Iterator
from weakref import WeakSet

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from crm_api import instruments

_POOLS: "WeakSet[MeasuredPool]" = WeakSet()


class MeasuredPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's own, which also tells how long one waits for a connection."""

    # It logs as all of SQLAlchemy does, not as one of our own modules.
    _sqla_logger_namespace = "sqlalchemy.pool.MeasuredPool"

    def dispose(self) -> None:
        """Close all connections; an engine that goes on does so with another pool."""
        _POOLS.discard(self)
        super().dispose()

    def _do_get(self) -> ConnectionPoolEntry:
        # Here, not when it is made: an engine that is disposed of makes one that nobody uses.
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
    """How many connections the pools of this process hold, looked at when somebody asks."""

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

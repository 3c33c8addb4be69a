"""Tests of the metrics that a worker exports on a port and on a socket, and that the API reads."""

import socket
from pathlib import Path

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from tests.free_ports import free_port

from crm_api.platform.metrics_export import (
    MergedMetrics,
    export_metrics,
    own_metrics,
    read_worker_metrics,
)


@pytest.fixture
def port() -> int:
    return free_port()


async def test_worker_exports_metrics_on_its_port(port: int) -> None:
    url = f"http://127.0.0.1:{port}/metrics"
    async with httpx.AsyncClient() as client:
        async with export_metrics("worker", host="127.0.0.1", port=port, socket=None):
            answer = await client.get(url)
        with pytest.raises(httpx.HTTPError):
            await client.get(url)

    families = {one.name: one for one in text_string_to_metric_families(answer.text)}
    (memory,) = families["process_resident_memory_bytes"].samples
    assert memory.labels == {"process": "worker"}
    assert families["crm_job_run_seconds"].type == "histogram"


async def test_metrics_of_two_processes_are_merged(tmp_path: Path) -> None:
    socket_path = tmp_path / "worker.sock"
    async with export_metrics("worker", host="", port=None, socket=socket_path):
        worker_metrics = await read_worker_metrics(socket_path)

    merged = {
        family.name: family
        for family in MergedMetrics([*own_metrics("serve"), *worker_metrics]).collect()
    }

    assert len(worker_metrics) == len(merged)
    for name in ("process_cpu_seconds", "crm_database_pool_size", "python_info"):
        assert [one.labels["process"] for one in merged[name].samples] == ["serve", "worker"]


async def test_unreachable_worker_adds_no_metrics(tmp_path: Path) -> None:
    socket_path = tmp_path / "worker.sock"
    without_socket = await read_worker_metrics(socket_path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))

    assert without_socket == []
    assert await read_worker_metrics(socket_path) == []


async def test_worker_reuses_the_socket_of_a_killed_worker(tmp_path: Path) -> None:
    socket_path = tmp_path / "worker.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))

    async with export_metrics("worker", host="", port=None, socket=socket_path):
        assert await read_worker_metrics(socket_path) != []


async def test_occupied_port_does_not_stop_the_worker() -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = int(occupied.getsockname()[1])
        with structlog.testing.capture_logs() as lines:
            async with export_metrics("worker", host="127.0.0.1", port=port, socket=None):
                pass

    (line,) = lines
    assert (line["event"], line["port"]) == ("metrics port or socket not opened", port)

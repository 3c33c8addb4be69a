"""Tests of `GET /metrics`: authorisation, formats, and the response without a database."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes import RecordingQueue

from crm_api.app import attach, build_app
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.routers.http.deps import AppState

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


async def test_metrics_need_no_key_and_have_the_prometheus_format(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/metrics", headers={"Authorization": ""})

    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert families["crm_workers"].type == "gauge"
    assert [sample.value for sample in families["crm_database_up"].samples] == [1]
    assert families["crm_job_runs"].type == "counter"
    assert all(family.documentation for family in families.values())
    assert all(name.startswith(("crm_", "process_", "python_")) for name in families)


async def test_no_label_has_a_name_that_prometheus_adds(client: httpx.AsyncClient) -> None:
    scraped = (await client.get("/metrics")).text
    labels = {
        label
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
        for label in sample.labels
    }
    declared = set(re.findall(r"`(\w+)`", "".join(re.findall(r"\| (`.*?) \|", PAGE.read_text()))))

    # Prometheus itself adds the labels `job` and `instance`. It would rename equal labels of the
    # service, and queries for these labels would find nothing.
    assert labels & {"job", "instance"} == set()
    assert declared & {"job", "instance"} == set()
    assert {"name", "process", "line_id"} <= declared


async def test_every_family_is_documented(client: httpx.AsyncClient) -> None:
    scraped = (await client.get("/metrics")).text
    families = {family.name: family.type for family in text_string_to_metric_families(scraped)}
    rows = re.findall(r"^\| `(\w+?)(?:_total)?` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)

    assert dict(rows) == families


async def test_metrics_have_the_openmetrics_format_on_request(client: httpx.AsyncClient) -> None:
    accept = "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5"

    answer = await client.get("/metrics", headers={"Accept": accept})

    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "crm_workers" in {family.name for family in openmetrics_families(answer.text)}  # type: ignore[no-untyped-call] # the parser has no types


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_metrics_accept_only_get(client: httpx.AsyncClient, method: str) -> None:
    assert (await client.request(method, "/metrics")).status_code == 405


async def test_process_without_a_database_reports_its_own_metrics(
    app: FastAPI, queue: RecordingQueue
) -> None:
    state: AppState = app.state.crm
    away = build_app(state.settings)
    async with open_engine("postgresql+asyncpg://nobody@127.0.0.1:1/none") as engine:
        sessions = session_factory(engine)
        held = {name: getattr(app.state, name) for name in ("intake", "refusals")}
        broken = AppState(
            settings=state.settings,
            new_uow=lambda: UnitOfWork(sessions, queue),
            secret=state.secret,
            provider=state.provider,
            rules=state.rules,
        )
        attach(away, broken, queue=queue, **held)
        transport = httpx.ASGITransport(app=away, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://crm.test") as client:
            answer = await client.get("/metrics")

    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert answer.status_code == 200
    assert [sample.value for sample in families["crm_database_up"].samples] == [0]
    assert "crm_workers" not in families
    assert "crm_http_answer_seconds" in families

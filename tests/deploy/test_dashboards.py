"""Prove that the alert rules and the dashboard use valid PromQL and metrics that exist."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_line

DEPLOY = Path(__file__).parents[2] / "deploy"
METRICS = DEPLOY.parent / "docs" / "reference" / "metrics.md"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "crm-api.json").read_text())
ASKED = [rule["expr"] for rule in RULES] + [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
]
SAMPLE = re.compile(r"\b(?:crm|process|python)_[a-z_]+")
SELECTED = re.compile(r"\b((?:crm|process|python)_\w+)\{([^}]*)\}")
PARTS = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "gauge": ("",),
}
SERVER = {"job", "instance"}
"""Labels that the Prometheus server itself adds."""
RUNBOOK = (DEPLOY.parent / "docs" / "how-to" / "runbook.md").read_text()


@pytest.mark.parametrize("expression", ASKED)
def test_expressions_are_promql(expression: str) -> None:
    assert promql_parser.parse(expression)


async def test_every_metric_that_is_used_is_exported(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await make_line(session)
    await session.commit()

    scraped = (await client.get("/metrics")).text
    families = list(text_string_to_metric_families(scraped))
    exported = {family.name + part for family in families for part in PARTS[family.type]}
    asked = {name for expression in ASKED for name in SAMPLE.findall(_without_values(expression))}

    assert asked - exported == set()
    assert len(asked) > 40


def test_labels_in_expressions_exist() -> None:
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*)\|", METRICS.read_text(), flags=re.MULTILINE)
    labels = {name: set(re.findall(r"`(\w+)`", labels_column)) for name, labels_column in rows}
    asked = [found for expression in ASKED for found in SELECTED.findall(expression)]

    assert len(asked) > 10
    for name, matchers in asked:
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        given = set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", matchers))
        known = labels[name] if name in labels else labels[family]
        assert given <= known | SERVER, name


def _without_values(expression: str) -> str:
    return re.sub(r'"[^"]*"', "", expression)


def test_every_alert_says_what_to_do() -> None:
    for rule in RULES:
        assert {"summary", "action"} <= rule["annotations"].keys(), rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (page, anchor) == ("docs/how-to/runbook.md", rule["alert"].lower())
        assert f"\n### {rule['alert']}\n" in RUNBOOK, rule["alert"]
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (column, row)
            for column in range(at["x"], at["x"] + at["w"])
            for row in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells

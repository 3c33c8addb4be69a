"""Prove that the runbook has a section for every alert.

All requests and commands in the runbook must exist.
"""

import ast
import json
import re
from collections.abc import Iterator

import pytest
import yaml
from tests.docs.pages import DOCS, ROOT

from crm_api.cli import COMMANDS
from crm_api.domain.alerts.alert_kinds import AlertKind

RUNBOOK = (DOCS / "how-to" / "runbook.md").read_text()
SOURCES = sorted((ROOT / "src" / "crm_api").rglob("*.py"))
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
PARAMETER = re.compile(r"\{[a-z_]+\}")
PAGES_THAT_ARE_NO_PART_OF_IT = {"/webhooks/openphone", "/healthz", "/readyz", "/metrics"}


def headings(section: str) -> list[str]:
    """Return the third-level headings of a second-level section."""
    text = RUNBOOK.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^### `?(\w+)`?$", text, re.MULTILINE)


def test_every_kind_of_alert_has_a_heading() -> None:
    assert headings("Alerts of the service") == sorted(kind.value for kind in AlertKind)


def test_every_rule_of_prometheus_has_a_heading() -> None:
    rules = [rule["alert"] for group in RULES["groups"] for rule in group["rules"]]

    assert sorted(headings("Rules of Prometheus")) == sorted(rules)


@pytest.mark.parametrize("kind", AlertKind)
def test_every_section_has_look_do_and_ends(kind: AlertKind) -> None:
    section = RUNBOOK.split(f"\n### `{kind}`\n")[1].split("\n##")[0]

    assert re.findall(r"^- (\w+): \S", section, re.MULTILINE) == ["Look", "Do", "Ends"]


def test_requests_in_the_runbook_exist() -> None:
    paths = json.loads((DOCS / "openapi.json").read_text())["paths"]
    known = {
        f"{method.upper()} {PARAMETER.sub('{}', path)}"
        for path, methods in paths.items()
        for method in methods
    }
    named = {
        f"{method} {PARAMETER.sub('{}', path)}"
        for method, path in re.findall(r"`(GET|POST|PATCH|DELETE) (/[\w/{}.-]+)", RUNBOOK)
    }

    assert len(named) > 20
    assert named - known == set()


def test_commands_in_the_runbook_exist() -> None:
    named = re.findall(r"crm-api ([a-z]+)\b", RUNBOOK)

    assert set(named) - set(COMMANDS) == set()


RAISING = (".raise_alert", "Finding")
"""Ends of the calls that raise an alert, or that build the finding of a check."""


def raised() -> Iterator[ast.Call]:
    """Yield every call in the code that raises an alert, or that builds the text of an alert."""
    for path in SOURCES:
        text = path.read_text()
        if path.parts[-2:] in {("alerts", "service.py"), ("watchdog", "findings.py")}:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(RAISING):
                yield node


def test_code_raises_every_kind_of_alert() -> None:
    text = "\n".join(path.read_text() for path in SOURCES if path.stem != "alert_kinds")

    assert [kind for kind in AlertKind if f"AlertKind.{kind.name}" not in text] == []
    assert len(list(raised())) > 25


ADVICE = re.compile(
    r"\b(See|see|Set|Put|put|POST|GET|nothing to do|confirms|settle|resume|reset|look|check|Delete|"
    r"ask|Reset|Check|Run|Read|No action is needed)\b"
)
OTHER_PARTS = ("sentence", "circuit.down", "WHAT_TO_DO")
"""Names of other parts of an alert's text. Each of these parts says what to do."""


def test_text_of_every_alert_says_what_to_do() -> None:
    without_advice = [
        detail
        for call in raised()
        for word in call.keywords
        if word.arg == "detail" and (detail := ast.unparse(word.value)).startswith(("f", "'", '"'))
        if not ADVICE.search(detail) and not any(name in detail for name in OTHER_PARTS)
    ]

    assert without_advice == []

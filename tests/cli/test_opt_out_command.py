from typer.testing import CliRunner

from crm_api.cli.opt_out import cli


def test_output_shows_decision_scores_thresholds_and_words() -> None:
    shown = CliRunner().invoke(
        cli, ["read", "please take my number off your list, we hired a mason"]
    )

    assert shown.exit_code == 0
    for part in ("opt_out", "asks to stop: 0.", "an opt-out from", "a hold from", "list +"):
        assert part in shown.output


def test_matching_keyword_is_named() -> None:
    shown = CliRunner().invoke(cli, ["read", "ARRÊTE svp"])

    assert "decided by a keyword that matches: 'arrete'" in shown.output


def test_context_changes_the_output() -> None:
    cold = CliRunner().invoke(cli, ["read", "no"])
    sale = CliRunner().invoke(cli, ["read", "no", "--sale", "--question"])

    assert cold.output != sale.output

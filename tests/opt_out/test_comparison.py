"""Prove that the comparison of two models reports what the new model reads worse."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.opt_out import comparison, data
from tests.opt_out.data import Label, Labelled, Style

from crm_api.domain.consent import reply_reader
from crm_api.domain.consent.reply_reader.classifier import FILE, current_model
from crm_api.domain.consent.reply_reader.reader import ReplyKind

OUT, HOLD, NONE = ReplyKind.OPT_OUT, ReplyKind.DOUBTFUL, ReplyKind.NONE


def labelled(label: Label, text: str = "a reply") -> Labelled:
    return Labelled(
        author="x",
        style=Style.USUAL,
        language="en",
        label=label,
        kind="",
        reply_class=None,
        text=text,
        is_sale=False,
        previous="",
    )


def worse(
    label: Label, *, pairs: list[tuple[ReplyKind, ReplyKind]], name: str = "usual replies"
) -> set[str]:
    """Return the measures, such as ``precision``, that the comparison reports as worse.

    The comparison uses replies that all have the same label.

    Args:
        label: The correct label of each reply.
        pairs: For each reply, how the current reader reads it, and how the new reader reads it.
        name: The name of the set of replies.
    """
    texts = [labelled(label) for _ in pairs]
    current, new = [was for was, _ in pairs], [now for _, now in pairs]
    found = comparison.compare(name, texts, current, new)
    return {one.measure for one in found if one.is_worse}


def test_same_answers_are_not_worse() -> None:
    assert worse(Label.STOP, pairs=[(OUT, OUT), (NONE, NONE)]) == set()


@pytest.mark.parametrize(
    ("label", "was", "now", "measures"),
    [
        (Label.STOP, OUT, NONE, {"recall with holds", "at once"}),
        (Label.STOP, OUT, HOLD, {"at once"}),
        (Label.HARMLESS, NONE, HOLD, {"harmless held"}),
        (Label.HARMLESS, NONE, OUT, {"precision"}),
        (Label.DOUBT, HOLD, OUT, {"precision"}),
    ],
)
def test_seven_losses_without_a_gain_are_worse(
    label: Label, was: ReplyKind, now: ReplyKind, measures: set[str]
) -> None:
    assert worse(label, pairs=[(was, now)] * 7) == measures


def test_few_losses_and_losses_beside_gains_are_noise() -> None:
    lost, gained = (OUT, NONE), (NONE, OUT)

    assert worse(Label.STOP, pairs=[lost] * 6) == set()
    assert worse(Label.STOP, pairs=[lost] * 20 + [gained] * 12) == set()


def test_one_lost_regression_line_is_worse() -> None:
    lost = worse(Label.STOP, pairs=[(OUT, NONE)], name=comparison.REGRESSION)

    assert lost == {"recall with holds", "at once"}


def test_losses_are_named_with_their_replies() -> None:
    texts = [labelled(Label.STOP, f"leave me be {place}") for place in range(7)]
    found = list(comparison.compare("usual replies", texts, [OUT] * 7, [NONE] * 7))

    lines = list(comparison.write_losses(found))

    assert lines[0].startswith("worse on usual replies, recall with holds: 7 replies are read")
    assert "  stop     leave me be 0" in lines
    assert "| usual replies | at once | 1.000 (0.646-1.000; 7/7) |" in "\n".join(
        comparison.write_table(found)
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a git repository with a reader whose model reads every reply as an opt-out."""
    package = tmp_path / "src" / "crm_api"
    kept = package / "domain" / "consent" / "reply_reader"
    shutil.copytree(Path(reply_reader.__file__).parent, kept)
    for folder in (package, package / "domain", package / "domain" / "consent"):
        (folder / "__init__.py").touch()
    replace(current_model(), opt_out_at=0.0).save(kept / FILE)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Add"]):
        subprocess.run([*git, *command], check=True)  # noqa: S603 - git, in a folder of the test
    return tmp_path


def test_current_reader_has_the_code_and_the_model_of_its_revision(repository: Path) -> None:
    texts = [labelled(Label.HARMLESS, "What does a new basement wall cost?")]

    found = comparison.read_at_revision("HEAD", texts, root=repository)

    assert found == [ReplyKind.OPT_OUT]
    assert comparison.read_with(current_model(), texts) == [ReplyKind.NONE]


def test_unknown_revision_is_reported_in_one_sentence(repository: Path) -> None:
    with pytest.raises(comparison.CurrentReaderError, match="cannot be run"):
        comparison.read_at_revision("no-such-revision", [], root=repository)


def test_exported_examples_are_a_set_of_their_own(tmp_path: Path) -> None:
    row = {
        "text": "please no",
        "label": "not_stop",
        "decision": "release",
        "language": "en",
        "is_sale": True,
        "previous": "Shall we come on Monday?",
    }
    path = tmp_path / "examples.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")

    [example] = comparison.sets_of([], path)[comparison.OFFICE]

    assert example.label is Label.HARMLESS
    assert example.context.is_sale
    assert example.context.is_question


def test_frozen_replies_are_compared_too() -> None:
    sets = comparison.sets_of(data.load(), None)

    assert {"usual replies", "hard replies", comparison.REGRESSION} <= sets.keys()
    assert ("frozen sets" in sets) == any(comparison.FROZEN.glob("*.jsonl"))

"""Train the model that reads replies again, and measure it (``make opt-out-model``).

Print how well models read the replies of authors whose replies they had not learned from; with
``--misread``, also print each misread reply. Then compare the new model with the current one. A new
model that is worse by more than chance explains is not written.
"""

import argparse
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from tests.opt_out import comparison, data, figures, train
from tests.opt_out.data import Labelled, Style

from crm_api.domain.consent.reply_reader import reader
from crm_api.domain.consent.reply_reader.classifier import Model
from crm_api.domain.consent.reply_reader.reader import ReplyKind


def main() -> None:
    """Train the model that reads replies, print how well it reads, and write its file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=train.MODEL, help="file of the new model")
    parser.add_argument("--misread", action="store_true", help="print the misread texts")
    parser.add_argument("--against", default="HEAD", help="git revision of the current model")
    parser.add_argument("--examples", type=Path, help="export of `crm-api opt-out evaluate`")
    parser.add_argument("--accept-worse", action="store_true", help="write a worse model too")
    given = parser.parse_args()
    _print_lines([f"{len(data.load())} labelled texts; leaving out one author after the other ..."])
    corpus = train.Corpus.of(data.load())
    read = train.leave_one_author_out(corpus)
    thresholds = train.choose_thresholds(read)
    model = train.train(corpus, thresholds)
    _print_lines(
        [
            f"{len(model.hashes)} features",
            f"opt out from {model.opt_out_at}, hold from {model.hold_at}",
        ]
    )
    readings = read_left_out(read, thresholds)
    for style in (Style.USUAL, Style.HARD):
        chosen = [pair for pair in readings if pair[0].style is style]
        _print_lines(["", f"{style} replies, by models that had not seen their author"])
        _print_lines(figures.write_table(chosen))
        if given.misread:
            _print_lines(_misread(chosen))
    try:
        losses = compare(model, given.against, given.examples)
    except comparison.CurrentReaderError as error:
        sys.exit(f"{error}. Name a revision with --against.")
    if losses and not given.accept_worse:
        sys.exit(
            f"The new model is worse than that of {given.against} beyond noise, so it is not "
            "written. Improve it, or accept it with --accept-worse."
        )
    model.save(given.output)
    read.save(train.LEFT_OUT)
    _print_lines([f"{given.output.name} has {given.output.stat().st_size} bytes"])


def compare(model: Model, revision: str, examples: Path | None) -> list[str]:
    """Print how the current and the new model read all sets of replies.

    Return sentences about the measures that became worse.
    """
    sets = comparison.sets_of(data.load(), examples)
    texts = [one for chosen in sets.values() for one in chosen]
    current = iter(comparison.read_at_revision(revision, texts))
    new = iter(comparison.read_with(model, texts))
    compared = [
        one
        for name, chosen in sets.items()
        for one in comparison.compare(
            name, chosen, list(islice(current, len(chosen))), list(islice(new, len(chosen)))
        )
    ]
    _print_lines(
        ["", f"The model of {revision} and the new one; both may have learned from these replies"]
    )
    _print_lines(comparison.write_table(compared))
    losses = list(comparison.write_losses(compared))
    _print_lines(losses)
    return losses


def read_left_out(
    read: train.LeftOut, thresholds: tuple[float, float]
) -> list[tuple[Labelled, ReplyKind]]:
    """Return each reply with its reading. As in the service, keywords decide before the model."""
    opt_out_at, hold_at = thresholds
    return [
        (one, reader.decide(one.text, float(asks), float(doubts), opt_out_at, hold_at))
        for one, asks, doubts in zip(read.texts, read.asks, read.doubts, strict=True)
    ]


def _misread(readings: Iterable[tuple[Labelled, ReplyKind]]) -> Iterable[str]:
    right = {"stop": ReplyKind.OPT_OUT, "doubt": ReplyKind.DOUBTFUL, "harmless": ReplyKind.NONE}
    for one, kind in readings:
        if kind is not right[one.label]:
            yield f"  {one.author:3} {one.language} {one.label:8} read as {kind:8} {one.text}"


def _print_lines(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()

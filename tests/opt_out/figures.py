"""Figures of how well replies are read: rates, with their counts and confidence intervals."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.opt_out.data import Label, Labelled

from crm_api.domain.consent.example_evaluation import Rate
from crm_api.domain.consent.reply_reader.reader import ReplyKind

LANGUAGES = ("en", "es", "pt", "ht", "fr")


@dataclass(frozen=True)
class Figures:
    """The figures of the reader on a set of labelled replies.

    Attributes:
        recall: Share of the requests to stop that opt out or cause a hold.
        at_once: Share of the requests to stop that opt out.
        precision: Share of the opt-outs that are labelled as requests to stop. An opt-out by a
            doubtful reply lowers the share.
        harmless_held: Share of the harmless replies that cause a hold.
        harmless_out: Share of the harmless replies that opt out.
        doubt_held: Share of the doubtful replies that cause a hold or opt out.
    """

    recall: Rate
    at_once: Rate
    precision: Rate
    harmless_held: Rate
    harmless_out: Rate
    doubt_held: Rate

    @classmethod
    def of(cls, readings: Sequence[tuple[Labelled, ReplyKind]]) -> "Figures":
        """Compute the figures from the readings of labelled replies."""

        def rate(
            base: Callable[[Labelled, ReplyKind], bool],
            part: Callable[[Labelled, ReplyKind], bool],
        ) -> Rate:
            chosen = [pair for pair in readings if base(*pair)]
            return Rate(sum(part(*pair) for pair in chosen), len(chosen))

        return cls(
            recall=rate(_is(Label.STOP), _stops),
            at_once=rate(_is(Label.STOP), _opts_out),
            precision=rate(lambda _, kind: kind is ReplyKind.OPT_OUT, _is(Label.STOP)),
            harmless_held=rate(_is(Label.HARMLESS), lambda _, kind: kind is ReplyKind.DOUBTFUL),
            harmless_out=rate(_is(Label.HARMLESS), _opts_out),
            doubt_held=rate(_is(Label.DOUBT), _stops),
        )


def _is(label: Label) -> Callable[[Labelled, ReplyKind], bool]:
    return lambda one, _: one.label is label


def _opts_out(_: Labelled, kind: ReplyKind) -> bool:
    return kind is ReplyKind.OPT_OUT


def _stops(_: Labelled, kind: ReplyKind) -> bool:
    return kind in {ReplyKind.OPT_OUT, ReplyKind.DOUBTFUL}


def write_table(readings: Sequence[tuple[Labelled, ReplyKind]]) -> Iterable[str]:
    """Yield the lines of a Markdown table: the figures of all languages, then of each language."""
    yield "| language | texts | recall with holds | at once | precision | harmless held |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name in ("all", *LANGUAGES):
        chosen = [pair for pair in readings if name in {"all", pair[0].language}]
        found = Figures.of(chosen)
        cells = (found.recall, found.at_once, found.precision, found.harmless_held)
        yield f"| {name} | {len(chosen)} | {' | '.join(map(str, cells))} |"

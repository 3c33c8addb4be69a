"""Counts the texts of a preview: length, cost, dear characters, what is missing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import Row

from crm_api.domain.campaigns.audience_statements import LEADING, NAMED
from crm_api.domain.campaigns.errors import MissingValueError
from crm_api.domain.campaigns.preview_answers import (
    ForcingCharacter,
    LackingContact,
    MissingValues,
    SampleText,
    VariantPreview,
)
from crm_api.domain.campaigns.segments import Encoding, forcing_characters, segments
from crm_api.domain.campaigns.wording import Compose
from crm_api.domain.campaigns.writing import Reader
from crm_api.domain.errors import InvalidError

SEGMENT_PRICE = Decimal("0.01")
"""Dollars, to numbers in the United States and Canada; prepaid to the provider."""
TO_TEXT = frozenset({"pending", "review"})
"""Verdicts of the audience's statement for whom there is a text."""
SHOWN_CONTACTS = 50
SHOWN_CHARACTERS = 100


def cost_of(count: int) -> str:
    """Write what segments cost, in dollars."""
    return str(count * SEGMENT_PRICE)


@dataclass
class _Wording:
    """The sums of one variant."""

    name: str
    body: str
    texts: int = 0
    in_ucs_2: int = 0
    segments: int = 0
    fewest: int = 0
    most: int = 0
    dear: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, encoding: Encoding, count: int) -> None:
        self.texts += 1
        self.segments += count
        self.fewest = min(self.fewest, count) if self.fewest else count
        self.most = max(self.most, count)
        if encoding == Encoding.UCS_2:
            self.in_ucs_2 += 1
            self.dear.update({character for _, character in forcing_characters(text)})


class Tally:
    """Writes texts for batches of people and keeps the sums, the first texts and the first faults.

    What it holds does not grow with the audience. ``add`` only computes, so it may run in a thread.
    """

    def __init__(
        self,
        compose: Compose,
        line: Row[Any],
        *,
        names: Sequence[str],
        bodies: Sequence[str],
        footer: str | None,
        sample_size: int,
    ) -> None:
        self._compose = compose
        self._line = line
        self._footer = footer
        self._wordings = [_Wording(*pair) for pair in zip(names, bodies, strict=True)]
        self._sample_size = sample_size
        self._lacking: list[LackingContact] = []
        self._by_variable: Counter[str] = Counter()
        self._missing = 0
        self.samples: list[SampleText] = []
        self.verdicts: Counter[str] = Counter()
        """What a start would make of those seen, before their text is written."""
        self.failures: Counter[tuple[str, str]] = Counter()
        """By verdict and reason: whose text could not be made."""

    def add(self, batch: Sequence[Row[Any]]) -> None:
        """Count each, and write the text of those who would be texted or reviewed."""
        for person in batch:
            _, verdict, variant = person[: len(LEADING)]
            self.verdicts[verdict] += 1
            if verdict not in TO_TEXT:
                continue
            try:
                text = self._write(person, variant)
            except InvalidError as error:
                self._note(person, error)
                continue
            encoding, count = segments(text)
            self._wordings[variant].add(text, encoding, count)
            if len(self.samples) < self._sample_size:
                self.samples.append(self._sample(person, text, encoding, count))

    def _write(self, person: Row[Any], variant: int) -> str:
        values = dict(zip(NAMED, person[len(LEADING) :], strict=True))
        return self._compose(cast("Row[Any]", Reader(values, variant)), self._line)

    def show(self, person: Row[Any]) -> SampleText:
        """Write the text of one person, or why there is none, without counting it."""
        try:
            text = self._write(person, person.variant)
        except InvalidError as error:
            reason = _reason(person) or error.code
            return self._sample(person, None, None, 0, reason=reason)
        return self._sample(person, text, *segments(text), reason=_reason(person))

    def _sample(
        self,
        person: Row[Any],
        text: str | None,
        encoding: Encoding | None,
        count: int,
        *,
        reason: str | None = None,
    ) -> SampleText:
        return SampleText(
            contact_id=person.contact_id,
            phone=person.phone,
            variant=self._wordings[person.variant].name,
            text=text,
            encoding=encoding,
            segments=count,
            cost=cost_of(count),
            skip_reason=reason,
        )

    def _note(self, person: Row[Any], error: InvalidError) -> None:
        self.failures[person.verdict, error.code] += 1
        if not isinstance(error, MissingValueError):
            return
        variable = error.extras.get("variable")
        self._missing += 1
        self._by_variable[variable or ""] += 1
        if len(self._lacking) < SHOWN_CONTACTS:
            lacking = LackingContact(
                contact_id=person.contact_id, phone=person.phone, variable=variable
            )
            self._lacking.append(lacking)

    @property
    def texts(self) -> int:
        """How many texts were written."""
        return sum(wording.texts for wording in self._wordings)

    @property
    def segments(self) -> int:
        """How many segments they take."""
        return sum(wording.segments for wording in self._wordings)

    @property
    def encoding(self) -> Encoding:
        """UCS-2 as soon as one text needs it."""
        return _encoding(any(wording.in_ucs_2 for wording in self._wordings))

    def missing_values(self) -> MissingValues:
        """Return who lacks a value, and how often each is lacking."""
        by_variable = {name: people for name, people in self._by_variable.most_common() if name}
        return MissingValues(count=self._missing, by_variable=by_variable, contacts=self._lacking)

    def variants(self) -> list[VariantPreview]:
        """Return the sums of each wording."""
        return [
            VariantPreview(
                name=wording.name,
                texts=wording.texts,
                encoding=_encoding(wording.in_ucs_2 > 0),
                texts_in_ucs_2=wording.in_ucs_2,
                segments=wording.segments,
                segments_min=wording.fewest,
                segments_max=wording.most,
                cost=cost_of(wording.segments),
            )
            for wording in self._wordings
        ]

    def forcing_characters(self) -> list[ForcingCharacter]:
        """Return what forces UCS-2: in wordings and footer by place, in values by character."""
        found = [
            entry for wording in self._wordings for entry in _forcing(wording, self._footer or "")
        ]
        return found[:SHOWN_CHARACTERS]


def _forcing(wording: _Wording, footer: str) -> list[ForcingCharacter]:
    placed = [("body", *place) for place in forcing_characters(wording.body)]
    placed += [("footer", *place) for place in forcing_characters(footer)]
    # A character of a comment or of a default that nobody needs is in no text.
    placed = [place for place in placed if wording.dear[place[2]] or not wording.texts]
    own = {character for _, _, character in placed}
    values = [("value", None, one) for one, _ in wording.dear.most_common() if one not in own]
    return [
        ForcingCharacter.model_validate(
            {
                "character": character,
                "code_point": f"U+{ord(character):04X}",
                "variant": wording.name,
                "source": source,
                "position": position,
                "texts": wording.dear[character],
            }
        )
        for source, position, character in [*placed, *values]
    ]


def _reason(person: Row[Any]) -> str | None:
    return None if person.verdict in TO_TEXT else str(person.verdict)


def _encoding(is_dear: bool) -> Encoding:  # noqa: FBT001 - the only argument
    return Encoding.UCS_2 if is_dear else Encoding.GSM_7

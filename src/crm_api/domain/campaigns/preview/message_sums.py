"""Render the messages of a preview, and sum up their SMS segments, cost and missing values."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from crm_api.domain.campaigns.audience.reading import AudiencePerson
from crm_api.domain.campaigns.errors import MissingValueError
from crm_api.domain.campaigns.preview.schemas import (
    ForcingCharacter,
    LackingContact,
    MissingValues,
    SampleText,
    VariantPreview,
)
from crm_api.domain.campaigns.templates.message_composer import MessageComposer, MessageLine
from crm_api.domain.kit.errors import InvalidError
from crm_api.domain.kit.message_segments import Encoding, forcing_characters, segments
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus

SEGMENT_PRICE = Decimal("0.01")
"""The provider's price in dollars for a segment to a number in the United States or Canada."""
GETS_MESSAGE = frozenset({"pending", "review"})
"""The verdicts of people who would get a message, immediately or after a review."""
SHOWN_CONTACTS = 50
SHOWN_CHARACTERS = 100
KEPT_PEOPLE = 10
"""The maximum number of people that ``MessageSums.left_out`` stores for each reason."""


def cost_of(count: int) -> str:
    """Return the price in dollars of ``count`` SMS segments, as a decimal in a string."""
    return str(count * SEGMENT_PRICE)


@dataclass
class _VariantSums:
    """The sums over the rendered messages of one variant.

    Attributes:
        in_ucs_2: The number of messages that need the encoding UCS-2.
        segments: The number of segments of all messages.
        fewest: The smallest number of segments of a message; 0 without messages.
        most: The largest number of segments of a message.
        forcing: For each character that needs UCS-2, the number of messages that contain it.
    """

    name: str
    body: str
    texts: int = 0
    in_ucs_2: int = 0
    segments: int = 0
    fewest: int = 0
    most: int = 0
    forcing: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, encoding: Encoding, count: int) -> None:
        self.texts += 1
        self.segments += count
        self.fewest = min(self.fewest, count) if self.fewest else count
        self.most = max(self.most, count)
        if encoding == Encoding.UCS_2:
            self.in_ucs_2 += 1
            self.forcing.update({character for _, character in forcing_characters(text)})


class MessageSums:
    """Renders messages for batches of people, and sums up the messages of each variant.

    The object also keeps examples: some messages, and some people who get no message. The memory
    that this object uses does not grow with the audience. ``add`` uses no database, so ``add`` may
    run in a thread.
    """

    def __init__(
        self,
        compose: MessageComposer,
        line: MessageLine,
        *,
        names: Sequence[str],
        bodies: Sequence[str],
        footer: str | None,
        sample_size: int,
    ) -> None:
        self._compose = compose
        self._line = line
        self._footer = footer
        self._sums = [_VariantSums(*pair) for pair in zip(names, bodies, strict=True)]
        self._sample_size = sample_size
        self._lacking: list[LackingContact] = []
        self._by_variable: Counter[str] = Counter()
        self._missing = 0
        self.samples: list[SampleText] = []
        self.verdicts: Counter[str] = Counter()
        """The number of people by verdict, including those whose message cannot be rendered."""
        self.failures: Counter[tuple[str, str]] = Counter()
        """The number of people whose message cannot be rendered, by verdict and error code."""
        self.left_out: dict[str, list[AudiencePerson]] = {}
        """Some of the people who get no message now, by verdict or error code."""

    def add(self, batch: Sequence[AudiencePerson]) -> None:
        """Count the people in ``batch``, and render the messages that they would get.

        The messages that people would get only after a review are rendered too.
        """
        for person in batch:
            self.verdicts[person.verdict] += 1
            if person.verdict != MembershipStatus.PENDING:
                self._keep(person.verdict, person)
            if person.verdict not in GETS_MESSAGE:
                continue
            try:
                text = self._compose(person, self._line)
            except InvalidError as error:
                self._record_failure(person, error)
                continue
            encoding, count = segments(text)
            self._sums[person.variant].add(text, encoding, count)
            if len(self.samples) < self._sample_size:
                self.samples.append(self._sample(person, text, encoding, count))

    def _keep(self, reason: str, person: AudiencePerson) -> None:
        kept = self.left_out.setdefault(reason, [])
        if len(kept) < KEPT_PEOPLE:
            kept.append(person)

    def show(self, person: AudiencePerson) -> SampleText:
        """Return the text of the message for one person. The sums of the preview do not change.

        If the person would not get the message now, the result also has the reason. If the text
        cannot be created, the text is None.
        """
        try:
            text = self._compose(person, self._line)
        except InvalidError as error:
            reason = _reason(person) or error.code
            return self._sample(person, None, None, 0, reason=reason)
        return self._sample(person, text, *segments(text), reason=_reason(person))

    def _sample(
        self,
        person: AudiencePerson,
        text: str | None,
        encoding: Encoding | None,
        count: int,
        *,
        reason: str | None = None,
    ) -> SampleText:
        return SampleText(
            contact_id=person.contact_id,
            phone=person.phone,
            variant=self._sums[person.variant].name,
            text=text,
            encoding=encoding,
            segments=count,
            cost=cost_of(count),
            skip_reason=reason,
        )

    def _record_failure(self, person: AudiencePerson, error: InvalidError) -> None:
        self.failures[person.verdict, error.code] += 1
        self._keep(error.code, person)
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
        """The number of messages that were rendered."""
        return sum(one.texts for one in self._sums)

    @property
    def segments(self) -> int:
        """The number of SMS segments (billed parts) of all rendered messages."""
        return sum(one.segments for one in self._sums)

    @property
    def encoding(self) -> Encoding:
        """UCS-2 if at least one rendered message needs it, otherwise GSM-7."""
        return _encoding(any(one.in_ucs_2 for one in self._sums))

    def missing_values(self) -> MissingValues:
        """Return which values are missing for the messages, such as the first name.

        The result has the number of people without each value, and some of these people.
        """
        by_variable = {name: people for name, people in self._by_variable.most_common() if name}
        return MissingValues(count=self._missing, by_variable=by_variable, contacts=self._lacking)

    def variants(self) -> list[VariantPreview]:
        """Return the number of messages, their segments and their cost for each variant.

        Only the messages that ``add`` has rendered are counted. The variants are in the order of
        their positions.
        """
        return [
            VariantPreview(
                name=one.name,
                texts=one.texts,
                encoding=_encoding(one.in_ucs_2 > 0),
                texts_in_ucs_2=one.in_ucs_2,
                segments=one.segments,
                segments_min=one.fewest,
                segments_max=one.most,
                cost=cost_of(one.segments),
            )
            for one in self._sums
        ]

    def forcing_characters(self) -> list[ForcingCharacter]:
        """Return the characters that force the encoding UCS-2, with their positions in the texts.

        The texts are the bodies of the variants and the footer. A character that comes only from
        contacts' values has no position.
        """
        found = [entry for sums in self._sums for entry in _forcing(sums, self._footer or "")]
        return found[:SHOWN_CHARACTERS]


def _forcing(sums: _VariantSums, footer: str) -> list[ForcingCharacter]:
    placed = [("body", *one) for one in forcing_characters(sums.body)]
    placed += [("footer", *one) for one in forcing_characters(footer)]
    # A character is left out if it does not get into any message. It may be in a comment of the
    # template, or in a default value that is not used for any contact.
    placed = [one for one in placed if sums.forcing[one[2]] or not sums.texts]
    own = {character for _, _, character in placed}
    values = [("value", None, one) for one, _ in sums.forcing.most_common() if one not in own]
    return [
        ForcingCharacter.model_validate(
            {
                "character": character,
                "code_point": f"U+{ord(character):04X}",
                "variant": sums.name,
                "source": source,
                "position": position,
                "texts": sums.forcing[character],
            }
        )
        for source, position, character in [*placed, *values]
    ]


def _reason(person: AudiencePerson) -> str | None:
    return None if person.verdict in GETS_MESSAGE else person.verdict


def _encoding(needs_ucs_2: bool) -> Encoding:  # noqa: FBT001 - the only argument
    return Encoding.UCS_2 if needs_ucs_2 else Encoding.GSM_7

"""Check that the first message to a person names its sender and says how to opt out.

The provider's terms of fair use require both.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from crm_api.domain.campaigns.errors import MissingIdentificationError
from crm_api.domain.campaigns.models import CampaignVariant
from crm_api.domain.campaigns.schemas import Variant
from crm_api.domain.campaigns.templates.message_composer import render_without_recipient
from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.messaging.company.service import Business
from crm_api.domain.messaging.models.lines import Line

_WORDS = r"stop(?: ?all)?|end|quit|cancel|revoke|remove|unsubscribe|opt[- ]?out"
_ASKS = r"reply|respond|text|send|answer|type|write|say|responda|responde|env[ií]e|escriba|conteste"
_HOW_TO_STOP = re.compile(
    # The word "stop" is an instruction only if it is in capitals or after a word such as "reply".
    # For example, "Can we stop by tomorrow" is not an instruction.
    rf"\bSTOP(?:ALL)?\b|(?i:\b(?:{_ASKS})\W+(?:with\W+|con\W+)?(?:{_WORDS})\b"
    r"|\bopt[- ]?out\b|\bunsubscribe\b|\bto stop (?:receiving|getting|these|texts|messages)\b)"
)
_ARTICLES = frozenset({"the", "and", "los", "las", "el", "la"})
_SHORTEST_NAME = 3


class MissingPart(StrEnum):
    """A required part that is missing in a first message."""

    SENDER = "sender_not_named"
    STOP = "no_way_to_stop"


_DETAILS = {
    MissingPart.SENDER: "The message of the variant “{variant}” does not name the sender. Add "
    "{name} to the body, for example as {{{{ business.name }}}}.",
    MissingPart.STOP: "The message of the variant “{variant}” does not say how to opt out. Add "
    'for example "Reply STOP to opt out" to the body, or set `opt_out_footer`.',
}


@dataclass(frozen=True, kw_only=True)
class IdentificationFault:
    """A required part that the message of one variant lacks, such as the name of the sender.

    Attributes:
        position: The position of the variant in its campaign, from 0.
        variant: The name of the variant.
        part: The missing part.
        detail: What is missing and what to do, as a sentence for the user.
    """

    position: int
    variant: str
    part: MissingPart
    detail: str


def find_identification_faults(
    variants: Sequence[Variant | CampaignVariant],
    *,
    footer: str | None,
    business: Business,
    line: Line,
) -> list[IdentificationFault]:
    """Return the required parts that are missing in the message of each variant.

    Each variant is rendered and checked twice: for a contact that has all values, and for a contact
    that has none. A variant that no one gets is not checked.
    """
    findings = []
    for position, variant in enumerate(variants):
        if variant.weight == 0 and not variant.for_known:
            continue
        texts = render_without_recipient(variant.body, footer=footer, business=business, line=line)
        for part in _missing_parts(texts, business, line):
            detail = _DETAILS[part].format(variant=variant.name, name=business.name or line.name)
            findings.append(
                IdentificationFault(
                    position=position, variant=variant.name, part=part, detail=detail
                )
            )
    return findings


def require_identification(
    variants: Sequence[CampaignVariant], *, footer: str | None, business: Business, line: Line
) -> None:
    """Raise an error if a first message does not name the sender or does not say how to opt out.

    Raises:
        MissingIdentificationError: A part is missing. The error lists every missing part of every
            variant.
    """
    findings = find_identification_faults(variants, footer=footer, business=business, line=line)
    if findings:
        raise MissingIdentificationError(
            findings[0].detail,
            errors=[
                FieldProblem(
                    pointer=f"/variants/{found.position}/body",
                    code=found.part.value,
                    detail=found.detail,
                )
                for found in findings
            ],
        )


def _missing_parts(texts: list[str], business: Business, line: Line) -> list[MissingPart]:
    parts = []
    if not all(_names_sender(text, business, line) for text in texts):
        parts.append(MissingPart.SENDER)
    if not all(_HOW_TO_STOP.search(text) for text in texts):
        parts.append(MissingPart.STOP)
    return parts


def _names_sender(text: str, business: Business, line: Line) -> bool:
    names = [line.name]
    if business.name:
        # The first word of the company's name is enough to identify the sender: "Granite here"
        # means "Granite Foundations".
        words = [
            word for word in re.findall(r"\w+", business.name) if word.lower() not in _ARTICLES
        ]
        names += [business.name, *(word for word in words[:1] if len(word) >= _SHORTEST_NAME)]
    return any(
        re.search(rf"(?<!\w){re.escape(name.strip())}(?!\w)", text, re.IGNORECASE)
        for name in names
        if name.strip()
    )

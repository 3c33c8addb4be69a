"""Whether a first text names who sends it and says how to stop.

The provider's terms of fair use want both of the first text to a person.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from crm_api.domain.campaigns.errors import MissingIdentificationError
from crm_api.domain.campaigns.models import CampaignVariant
from crm_api.domain.campaigns.schemas import Variant
from crm_api.domain.campaigns.wording import Business
from crm_api.domain.campaigns.writing import texts_for_nobody
from crm_api.domain.errors import FieldProblem
from crm_api.domain.lines.models import Line

_WORDS = r"stop(?: ?all)?|end|quit|cancel|revoke|remove|unsubscribe|opt[- ]?out"
_ASKS = r"reply|respond|text|send|answer|type|write|say|responda|responde|env[ií]e|escriba|conteste"
_HOW_TO_STOP = re.compile(
    # "can we stop by tomorrow" tells nobody how to stop; the word in capitals, or asked for, does.
    rf"\bSTOP(?:ALL)?\b|(?i:\b(?:{_ASKS})\W+(?:with\W+|con\W+)?(?:{_WORDS})\b"
    r"|\bopt[- ]?out\b|\bunsubscribe\b|\bto stop (?:receiving|getting|these|texts|messages)\b)"
)
_ARTICLES = frozenset({"the", "and", "los", "las", "el", "la"})
_SHORTEST_NAME = 3


class Lack(StrEnum):
    """What a first text leaves out."""

    SENDER = "sender_not_named"
    STOP = "no_way_to_stop"


_DETAILS = {
    Lack.SENDER: "The text of variant {variant} does not name the sender; write {name} into it, "
    "for example as {{{{ business.name }}}}.",
    Lack.STOP: "The text of variant {variant} does not say how to stop; add for example "
    '"Reply STOP to opt out", or set opt_out_footer.',
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that the wording at a position leaves out."""

    position: int
    variant: str
    lack: Lack
    detail: str


def find_lacks(
    variants: Sequence[Variant | CampaignVariant],
    *,
    footer: str | None,
    business: Business,
    line: Line,
) -> list[Finding]:
    """Find what first texts leave out, for readers of whom all is known and of whom nothing is.

    A wording that nobody gets is not looked at.
    """
    findings = []
    for position, variant in enumerate(variants):
        if variant.weight == 0:
            continue
        texts = texts_for_nobody(variant.body, footer=footer, business=business, line=line)
        for lack in _lacks_of(texts, business, line):
            detail = _DETAILS[lack].format(variant=variant.name, name=business.name or line.name)
            findings.append(
                Finding(position=position, variant=variant.name, lack=lack, detail=detail)
            )
    return findings


def require(
    variants: Sequence[CampaignVariant], *, footer: str | None, business: Business, line: Line
) -> None:
    """Refuse a campaign of which a first text leaves something out.

    Raises:
        MissingIdentificationError: Names each wording and what it lacks.
    """
    findings = find_lacks(variants, footer=footer, business=business, line=line)
    if findings:
        raise MissingIdentificationError(
            findings[0].detail,
            errors=[
                FieldProblem(
                    pointer=f"/variants/{found.position}/body",
                    code=found.lack.value,
                    detail=found.detail,
                )
                for found in findings
            ],
        )


def _lacks_of(texts: list[str], business: Business, line: Line) -> list[Lack]:
    lacks = []
    if not all(_names_sender(text, business, line) for text in texts):
        lacks.append(Lack.SENDER)
    if not all(_HOW_TO_STOP.search(text) for text in texts):
        lacks.append(Lack.STOP)
    return lacks


def _names_sender(text: str, business: Business, line: Line) -> bool:
    names = [line.name]
    if business.name:
        # "Granite Foundations" is also named by "Granite here".
        words = [
            word for word in re.findall(r"\w+", business.name) if word.lower() not in _ARTICLES
        ]
        names += [business.name, *(word for word in words[:1] if len(word) >= _SHORTEST_NAME)]
    return any(
        re.search(rf"(?<!\w){re.escape(name.strip())}(?!\w)", text, re.IGNORECASE)
        for name in names
        if name.strip()
    )

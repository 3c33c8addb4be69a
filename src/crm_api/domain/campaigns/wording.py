"""Which text a recipient gets, and how it reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlalchemy import Row

from crm_api.domain.campaigns import template
from crm_api.domain.campaigns.template import Compiled

Compose = Callable[[Row[Any], Row[Any]], str]


@dataclass(frozen=True, kw_only=True)
class Business:
    """Who is texting; None falls back to the line's name and number."""

    name: str | None
    contact: str | None


def composer(bodies: Sequence[str], *, footer: str | None, business: Business) -> Compose:
    """Return the function that writes a first text for a recipient's row and the line's row."""
    compiled = [template.compile_text(body) for body in bodies]

    def compose(recipient: Row[Any], line: Row[Any]) -> str:
        return write(compiled[recipient.variant], recipient, line, footer=footer, business=business)

    return compose


class Wordings:
    """The texts of a campaign: its variants for the first step, one text for each follow-up.

    A stopped variant's people go to the others, in the proportion of their weights; who goes
    where depends on the person alone.

    Args:
        variants: ``{body, weight, is_stopped}`` each, by position.
        follow_ups: ``{body}`` each, by step from 1 on.
    """

    def __init__(
        self,
        *,
        variants: Sequence[Mapping[str, Any]],
        follow_ups: Sequence[Mapping[str, Any]],
        footer: str | None,
        business: Business,
    ) -> None:
        # Compiled when the first text is written: of many campaigns that are planned, few send.
        self._variants = [str(one["body"]) for one in variants]
        self._follow_ups = [str(one["body"]) for one in follow_ups]
        self._stopped = {place for place, one in enumerate(variants) if one["is_stopped"]}
        self._going = [place for place in range(len(variants)) if place not in self._stopped]
        weights = [variants[place]["weight"] for place in self._going]
        self._shares = list(accumulate(weights if any(weights) else [1] * len(weights)))
        self._footer = footer
        self._business = business

    def variant_of(self, recipient: Row[Any]) -> int:
        """Return the position of a recipient's wording: its own, unless that one was stopped."""
        variant: int = recipient.variant
        if recipient.step > 0 or variant not in self._stopped or not self._going:
            return variant
        bucket = recipient.contact_id.int % self._shares[-1]
        return next(
            place for place, share in zip(self._going, self._shares, strict=True) if bucket < share
        )

    def __call__(self, recipient: Row[Any], line: Row[Any]) -> str:
        """Write the text of a recipient's step.

        Raises:
            MissingValueError: The recipient lacks a value that the text needs.
            TextFailedError: The text could not be made, or is too long.
        """
        body = (
            self._follow_ups[recipient.step - 1]
            if recipient.step > 0
            else self._variants[self.variant_of(recipient)]
        )
        text = template.compile_text(body)
        return write(text, recipient, line, footer=self._footer, business=self._business)


def write(
    text: Compiled, recipient: Row[Any], line: Row[Any], *, footer: str | None, business: Business
) -> str:
    """Write a text for a recipient's row, with the names of line and business.

    Raises:
        MissingValueError: The recipient lacks a value that the text needs.
        TextFailedError: The text could not be made, or is too long.
    """
    if text.template is None:
        return template.with_footer(text.body, footer)
    values = dict(recipient._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    values["line"] = {"name": line.name, "number": line.number}
    values["business"] = {
        "name": business.name or line.name,
        "contact": business.contact or line.number,
    }
    return template.compose(text, values, footer=footer)

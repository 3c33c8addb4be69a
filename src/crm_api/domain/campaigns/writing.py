"""Writes texts by the composer of the claim for readers that are not recipients yet."""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Row

from crm_api.domain.campaigns import template
from crm_api.domain.campaigns.errors import MissingValueError, TextFailedError
from crm_api.domain.campaigns.wording import Business, Compose, composer
from crm_api.domain.lines.models import Line


class Reader:
    """Stands in for a recipient's row where there is none, and where a row's look-ups are slow."""

    __slots__ = ("_mapping", "variant")

    def __init__(self, values: Mapping[str, object], variant: int = 0) -> None:
        self._mapping = values
        self.variant = variant


def texts_for_nobody(body: str, *, footer: str | None, business: Business, line: Line) -> list[str]:
    """Write a text for somebody of whom all is known, and for somebody of whom nothing is.

    Returns:
        The first with the names of the values in brackets where the text takes them; the second
        only when the text can do without values. Never empty: a text that cannot be made for
        either is returned as it was written.
    """
    compose = composer([body], footer=footer, business=business)
    full = template.placeholders(template.compile_text(body))
    texts = _first(compose, full, line) + _first(compose, [{}], line)
    return texts or [template.with_footer(body, footer)]


def _first(compose: Compose, readers: list[dict[str, object]], line: Line) -> list[str]:
    for values in readers:
        try:
            return [compose(cast("Row[Any]", Reader(values)), cast("Row[Any]", line))]
        except (MissingValueError, TextFailedError):
            continue
    return []

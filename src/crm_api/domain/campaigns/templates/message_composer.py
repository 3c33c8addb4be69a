"""Decide which message a recipient gets, and render it."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol, TypedDict
from uuid import UUID

from crm_api.domain.campaigns.errors import MissingValueError, TextFailedError
from crm_api.domain.campaigns.templates import template_text
from crm_api.domain.campaigns.templates.template_text import (
    ATTRIBUTES,
    CONTACT_FIELDS,
    CompiledBody,
    compile_body,
)
from crm_api.domain.messaging.company.service import Business

_NAMED = CONTACT_FIELDS | {ATTRIBUTES}


class VariantBody(TypedDict):
    """The body of a variant, as the plan reads it from the database."""

    body: str
    weight: int
    is_stopped: bool


class FollowUpBody(TypedDict):
    """The body of a follow-up, as ``campaign.follow_ups`` stores it."""

    body: str


class MessageRecipient(Protocol):
    """A recipient at one step. It also has the columns of ``ContactValues``."""

    @property
    def contact_id(self) -> UUID:
        """The contact, which decides the variant in place of a stopped one."""

    @property
    def step(self) -> int:
        """0 for the first message."""

    @property
    def variant(self) -> int:
        """The position of the variant that was assigned."""


class MessageLine(Protocol):
    """The line that sends a message."""

    @property
    def name(self) -> str:
        """The name of the line."""

    @property
    def number(self) -> str:
        """The phone number of the line."""


class MessageComposer:
    """The message bodies of a campaign: variants for the first step, one body per follow-up.

    The people of a stopped variant go to the others, in proportion to their weights. Which variant
    a person gets depends only on the contact id.

    Args:
        variants: By position.
        follow_ups: By step from 1 on.
    """

    def __init__(
        self,
        *,
        variants: Sequence[VariantBody],
        follow_ups: Sequence[FollowUpBody] = (),
        footer: str | None,
        business: Business,
    ) -> None:
        # Compiled with the first message: many campaigns are planned, but few of them send.
        self._variants = [one["body"] for one in variants]
        self._follow_ups = [one["body"] for one in follow_ups]
        self._stopped = {position for position, one in enumerate(variants) if one["is_stopped"]}
        self._live = [at for at in range(len(variants)) if at not in self._stopped]
        weights = [variants[position]["weight"] for position in self._live]
        self._shares = list(accumulate(weights if any(weights) else [1] * len(weights)))
        self._footer = footer
        self._business = business

    @classmethod
    def of_bodies(
        cls, bodies: Iterable[str], *, footer: str | None, business: Business
    ) -> "MessageComposer":
        """Return a composer of first messages in which no variant is stopped."""
        variants = [VariantBody(body=body, weight=1, is_stopped=False) for body in bodies]
        return cls(variants=variants, footer=footer, business=business)

    def variant_of(self, recipient: MessageRecipient) -> int:
        """Return the position of a recipient's variant: its own, unless that one was stopped."""
        variant = recipient.variant
        if recipient.step > 0 or variant not in self._stopped or not self._live:
            return variant
        bucket = recipient.contact_id.int % self._shares[-1]
        return next(
            position
            for position, share in zip(self._live, self._shares, strict=True)
            if bucket < share
        )

    def __call__(self, recipient: MessageRecipient, line: MessageLine) -> str:
        """Render the message of a recipient's step.

        Raises:
            MissingValueError: The recipient lacks a value that the body needs.
            TextFailedError: The message could not be rendered, or is too long.
        """
        body = (
            self._follow_ups[recipient.step - 1]
            if recipient.step > 0
            else self._variants[self.variant_of(recipient)]
        )
        compiled = compile_body(body)
        values = {name: getattr(recipient, name) for name in compiled.roots & _NAMED}
        return _render(compiled, values, line, footer=self._footer, business=self._business)


def _render(
    compiled: CompiledBody,
    contact_values: Mapping[str, Any],
    line: MessageLine,
    *,
    footer: str | None,
    business: Business,
) -> str:
    if compiled.template is None:
        return template_text.append_footer(compiled.body, footer)
    values = {
        **contact_values,
        "line": {"name": line.name, "number": line.number},
        "business": {
            "name": business.name or line.name,
            "contact": business.contact or line.number,
        },
    }
    return template_text.render_message(compiled, values, footer=footer)


def render_without_recipient(
    body: str, *, footer: str | None, business: Business, line: MessageLine
) -> list[str]:
    """Render a body twice: for a contact with all values, and for a contact with none.

    Returns:
        The first shows the names of values in brackets, where possible. The second is there only if
        the body can do without values. Never empty: a body that cannot be rendered at all is
        returned unchanged.
    """
    compiled = compile_body(body)
    messages = []
    no_values: list[dict[str, object]] = [{}]
    for candidates in (template_text.placeholder_values(compiled), no_values):
        for values in candidates:
            try:
                message = _render(compiled, values, line, footer=footer, business=business)
            except (MissingValueError, TextFailedError):
                continue
            messages.append(message)
            break
    return messages or [template_text.append_footer(body, footer)]

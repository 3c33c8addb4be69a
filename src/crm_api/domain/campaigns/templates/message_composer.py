"""Select the variant or follow-up that a recipient gets, and render the message."""

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
    """The body and the weight of a variant, and whether the variant was stopped."""

    body: str
    weight: int
    is_stopped: bool


class FollowUpBody(TypedDict):
    """A follow-up, as stored in ``campaign.follow_ups``; only its body is used here."""

    body: str


class MessageRecipient(Protocol):
    """A recipient of a campaign, and the step whose message is rendered.

    The object also has the fields of ``ContactValues``, such as ``first_name``, because a body may
    use the values of these fields.
    """

    @property
    def contact_id(self) -> UUID:
        """The id of the contact.

        If the assigned variant was stopped, this id decides which variant replaces it.
        """

    @property
    def step(self) -> int:
        """0 for the first message, 1 for the first follow-up, and so on."""

    @property
    def variant(self) -> int:
        """The position of the variant that was assigned to the recipient."""


class MessageLine(Protocol):
    """The line that sends a message. The message may contain the line's name and number."""

    @property
    def name(self) -> str:
        """The name of the line."""

    @property
    def number(self) -> str:
        """The phone number of the line."""


class MessageComposer:
    """Renders the messages of a campaign: a variant at the first step, then the follow-ups.

    If a variant is stopped, the variants that are not stopped share its recipients, in proportion
    to their weights. A contact gets the same variant in every call, as long as no further variant
    is stopped.

    Args:
        variants: The variants, ordered by position.
        follow_ups: The follow-ups, beginning with step 1.
    """

    def __init__(
        self,
        *,
        variants: Sequence[VariantBody],
        follow_ups: Sequence[FollowUpBody] = (),
        footer: str | None,
        business: Business,
    ) -> None:
        # The bodies are not compiled here, but when the first message is rendered. Many campaigns
        # are planned without sending a message, and need no compiled bodies.
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
        """Return a composer whose variants have these bodies and equal weights.

        None of the variants is stopped.
        """
        variants = [VariantBody(body=body, weight=1, is_stopped=False) for body in bodies]
        return cls(variants=variants, footer=footer, business=business)

    def variant_of(self, recipient: MessageRecipient) -> int:
        """Return the position of the variant that a recipient gets.

        That is the assigned variant, or another one if the assigned variant was stopped.
        """
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
        """Render the message for a recipient at the recipient's step.

        Raises:
            MissingValueError: The recipient lacks a value that the body needs.
            TextFailedError: The message cannot be rendered, or is too long.
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
    """Render a body for a contact that has all values, and for a contact that has none.

    The values of the first contact come from ``placeholder_values``.

    Returns:
        First the message with all values, then the message without values. A message that cannot be
        rendered is left out. If neither can be rendered, the result is the body itself with the
        footer.
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

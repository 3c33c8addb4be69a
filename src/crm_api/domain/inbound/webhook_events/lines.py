"""Find the lines that events belong to, each looked up once per batch."""

from collections.abc import Sequence
from datetime import datetime

from crm_api.domain.kit.errors import (
    Example,
    InvalidError,
)
from crm_api.domain.messaging.conversations.participants import as_phone
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.models.conversations import Direction
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.provider.openphone.facts import CallFacts, MessageFacts
from crm_api.platform.database import UnitOfWork

Place = tuple[str | None, tuple[str, ...]]
"""What an event says about its line: the provider's id, and own numbers."""


class LineUnknownError(InvalidError):
    """The event names an own number that is not known here."""

    code = "line_unknown"
    title = "Line not known"
    example = Example(
        "The line PNq7x1Zk3v is not known here; read the lines from the provider with POST "
        "/v1/lines/sync, then replay this event."
    )


class IncompleteEventError(InvalidError):
    """The event lacks data that is needed to apply it."""

    code = "incomplete_event"
    title = "Event incomplete"


class LineFinder:
    """Finds lines within one transaction."""

    def __init__(self, uow: UnitOfWork, *, resend_unclear: bool, now: datetime) -> None:
        self._uow = uow
        self._resend_unclear = resend_unclear
        self._now = now
        self._found: dict[Place, Line | None] = {}

    async def of_message(self, facts: MessageFacts) -> Line:
        """Return the line of a message.

        Raises:
            LineUnknownError: The message names a line that is not known here.
            IncompleteEventError: The message does not name its line.
        """
        is_incoming = facts.direction == Direction.INCOMING
        own = facts.to_numbers if is_incoming else (facts.from_number or "",)
        line = await self._find(facts.phone_number_id, own)
        if line is None:
            raise IncompleteEventError("The message does not say on which line it was.")
        return line

    async def of_call(self, facts: CallFacts) -> Line | None:
        """Return the line of a call; None when this event does not name it.

        Raises:
            LineUnknownError: The call names a line that is not known here.
        """
        return await self._find(facts.phone_number_id, facts.own)

    async def _find(self, phone_number_id: str | None, own: tuple[str, ...]) -> Line | None:
        place = (phone_number_id, own)
        if place not in self._found:
            self._found[place] = await self._look(phone_number_id, own)
        return self._found[place]

    async def _look(self, phone_number_id: str | None, own: Sequence[str]) -> Line | None:
        """Look up by the provider's id, else by the number; add a line given with both."""
        if phone_number_id is None:
            return await lines.find_line_by_number(self._uow, numbers=own) if own else None
        numbers = [number for one in own if (number := as_phone(one)) is not None]
        line = await lines.ensure_line(
            self._uow,
            phone_number_id=phone_number_id,
            number=numbers[0] if len(numbers) == 1 else None,
            resend_unclear=self._resend_unclear,
            now=self._now,
        )
        if line is None:
            raise LineUnknownError(
                f"The line {phone_number_id} is not known here; read the lines from the provider "
                "with POST /v1/lines/sync, then replay this event."
            )
        return line

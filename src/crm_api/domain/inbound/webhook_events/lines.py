"""Find the phone line of each event; each line is looked up only once per batch of events."""

from collections.abc import Sequence
from datetime import datetime

from crm_api.domain.kit.errors import (
    Example,
    InvalidError,
)
from crm_api.domain.messaging.conversations.participants import as_phone
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Direction
from crm_api.domain.provider.openphone.facts import CallFacts, MessageFacts
from crm_api.platform.database import UnitOfWork

Place = tuple[str | None, tuple[str, ...]]
"""How an event identifies its phone line: the provider's id of the line, and our own phone numbers
in the event."""


class LineUnknownError(InvalidError):
    """The event belongs to a phone line that this service has not stored."""

    code = "line_unknown"
    title = "Unknown line"
    example = Example(
        "The line PNq7x1Zk3v is unknown. Read the lines from the provider with POST "
        "/v1/lines/sync, then replay this event."
    )


class IncompleteEventError(InvalidError):
    """The event lacks data that is needed to apply it."""

    code = "incomplete_event"
    title = "Event incomplete"


class LineFinder:
    """Finds the phone lines of events within one transaction, and remembers the lines it found."""

    def __init__(self, uow: UnitOfWork, *, resend_unclear: bool, now: datetime) -> None:
        self._uow = uow
        self._resend_unclear = resend_unclear
        self._now = now
        self._found: dict[Place, Line | None] = {}

    async def of_message(self, facts: MessageFacts) -> Line:
        """Return the line of a message.

        Raises:
            LineUnknownError: The message names a line that this service has not stored.
            IncompleteEventError: The message does not name its line.
        """
        is_incoming = facts.direction == Direction.INCOMING
        own = facts.to_numbers if is_incoming else (facts.from_number or "",)
        line = await self._find(facts.phone_number_id, own)
        if line is None:
            raise IncompleteEventError("The event does not name the line of the message.")
        return line

    async def of_call(self, facts: CallFacts) -> Line | None:
        """Return the line of a call; None if the event does not name the line.

        Raises:
            LineUnknownError: The event names a line that this service has not stored.
        """
        return await self._find(facts.phone_number_id, facts.own)

    async def _find(self, phone_number_id: str | None, own: tuple[str, ...]) -> Line | None:
        place = (phone_number_id, own)
        if place not in self._found:
            self._found[place] = await self._look(phone_number_id, own)
        return self._found[place]

    async def _look(self, phone_number_id: str | None, own: Sequence[str]) -> Line | None:
        """Find a phone line by the provider's id or, if there is no id, by its phone number.

        If the line is not stored, and the event has both an id and exactly one phone number of
        ours, add the line.
        """
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
                f"The line {phone_number_id} is unknown. Read the lines from the provider with "
                "POST /v1/lines/sync, then replay this event."
            )
        return line

"""The lines that events are of, each looked for once in a batch."""

from collections.abc import Sequence
from datetime import datetime

from crm_api.db import UnitOfWork
from crm_api.domain.activity import service as activity
from crm_api.domain.activity.models import Direction
from crm_api.domain.lines import service as lines
from crm_api.domain.lines.models import Line
from crm_api.domain.openphone.facts import CallFacts, MessageFacts
from crm_api.domain.webhooks.errors import IncompleteEventError, LineUnknownError

Place = tuple[str | None, tuple[str, ...]]
"""What an event says of its line: the provider's id, and own numbers."""


class LineFinder:
    """Finds lines within one transaction."""

    def __init__(self, uow: UnitOfWork, *, resend_unclear: bool, now: datetime) -> None:
        self._uow = uow
        self._resend_unclear = resend_unclear
        self._now = now
        self._found: dict[Place, Line | None] = {}

    async def of_message(self, facts: MessageFacts) -> Line:
        """Find the line of a text.

        Raises:
            LineUnknownError: It is of a line that is not known here.
            IncompleteEventError: It does not say which line it is of.
        """
        is_incoming = facts.direction == Direction.INCOMING
        own = facts.to_numbers if is_incoming else (facts.from_number or "",)
        line = await self._find(facts.phone_number_id, own)
        if line is None:
            raise IncompleteEventError("The message does not say on which line it was.")
        return line

    async def of_call(self, facts: CallFacts) -> Line | None:
        """Find the line of a call; None when this event does not say.

        Raises:
            LineUnknownError: It is of a line that is not known here.
        """
        return await self._find(facts.phone_number_id, facts.own)

    async def _find(self, phone_number_id: str | None, own: tuple[str, ...]) -> Line | None:
        place = (phone_number_id, own)
        if place not in self._found:
            self._found[place] = await self._look(phone_number_id, own)
        return self._found[place]

    async def _look(self, phone_number_id: str | None, own: Sequence[str]) -> Line | None:
        """Look by the provider's id, else by the number; one that is told whole is added."""
        if phone_number_id is None:
            return await lines.find_by_number(self._uow, numbers=own) if own else None
        numbers = [number for one in own if (number := activity.as_phone(one)) is not None]
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

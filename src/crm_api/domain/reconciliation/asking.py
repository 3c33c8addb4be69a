"""Asks for what belongs to a listed call and is not in its list: recordings, voicemail, words."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from crm_api.domain.activity.models import ActivityKind
from crm_api.domain.openphone.errors import OpenPhoneBusyError
from crm_api.domain.openphone.json_values import instant, mapping, text
from crm_api.domain.openphone.listing import CallExtras, Listing
from crm_api.domain.reconciliation.batch import Item, id_of
from crm_api.domain.reconciliation.comparing import CallToAsk
from crm_api.domain.reconciliation.drift import Example
from crm_api.domain.reconciliation.turns import Turns


class Asker:
    """Asks about the calls of one batch.

    Attributes:
        missed: What could not be read; the next run that looks at these calls asks again.
    """

    def __init__(self, *, lists: Listing, turns: Turns, now: Callable[[], datetime]) -> None:
        self._lists = lists
        self._turns = turns
        self._now = now
        self._is_away = False
        self.missed: list[Example] = []

    async def ask(self, asked: CallToAsk) -> list[Item]:
        """Return the call with what belongs to it, or nothing when it would tell nothing new."""
        call_id = id_of(asked.call.item) or ""
        extras = await self._extras(call_id, asked.extras)
        known = asked.known
        is_told = any((extras.recordings, extras.voicemail, extras.summary, extras.transcript))
        if not asked.is_behind and not is_told:
            return []
        item = mapping(asked.call.item)
        at = instant(item.get("createdAt")) or self._now()
        return [
            Item(
                id=call_id,
                kind=ActivityKind.CALL.value,
                direction=text(item.get("direction")),
                at=at,
                changed_at=instant(item.get("completedAt")) or at,
                events=asked.call.events(extras),
                was=None if known is None else known.status,
                now=text(item.get("status")),
            )
        ]

    async def _extras(self, call_id: str, names: frozenset[str]) -> CallExtras:
        lists = self._lists
        found: dict[str, Any] = {}
        for name, read in (
            ("recordings", lists.recordings),
            ("voicemail", lists.voicemail),
            ("summary", lists.summary),
            ("transcript", lists.transcript),
        ):
            if name not in names or self._is_away:
                continue
            await self._turns.take()
            try:
                found[name] = await read(call_id)
            except OpenPhoneBusyError as error:
                # The others would fail alike, and each would take its tries.
                self._is_away = True
                self.missed.append(Example(id=call_id, kind=name, why=error.detail))
        return CallExtras(**found)

"""An event as it stands in the log."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from crm_api.domain.events.positions import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """One fact.

    Attributes:
        position: Where it stands: its id for those who follow; None for what is told and not kept.
        type: An ``EventType``, or one that a newer version writes and nobody asks for here.
    """

    position: Position | None
    type: str
    subject_id: UUID | None
    campaign_id: UUID | None
    data: dict[str, Any]
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Part of the log.

    Attributes:
        events: In order.
        until: Everything up to here has been read.
        is_last: Nothing more stands there now.
    """

    events: list[LoggedEvent]
    until: Position
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnds:
    """Between which places the log can be read.

    Attributes:
        horizon: The last event that was forgotten; None while none was.
        head: Everything before this place is final.
    """

    horizon: Position | None
    head: Position

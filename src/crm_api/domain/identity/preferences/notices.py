"""The notice preferences of a user: which notices the user wants, by which channel, and when.

A notice informs the user of a waiting message or call, a mention in a note, or a due task.
"""

from datetime import datetime, time
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import ClockTime
from crm_api.domain.kit.schemas import RequestModel
from crm_api.domain.kit.windows import DAYS, Day

SHORTEST_DELAY, LONGEST_DELAY, USUAL_DELAY = 1, 240, 5


class NoticeKind(StrEnum):
    """What a notice is about.

    Attributes:
        REPLY: A person's message or call waits for an answer. The conversation is assigned to the
            user or to nobody.
        MENTION: An internal note mentions the user.
        TASK: A task is due. The task is assigned to the user or to nobody.
    """

    REPLY = "reply"
    MENTION = "mention"
    TASK = "task"


class NoticeChannel(StrEnum):
    """How a notice reaches the user.

    Attributes:
        MAIL: By e-mail.
        PUSH: By web push, to the devices on which the user turned on web push.
    """

    MAIL = "mail"
    PUSH = "push"


class QuietHours(RequestModel):
    """A daily time without notices, in the time zone of the user.

    Attributes:
        start: When the quiet time begins.
        end: When the quiet time ends. If `end` is not later than `start`, `end` is on the next day.
    """

    model_config = example(start="20:00", end="07:30")

    start: ClockTime
    end: ClockTime

    @model_validator(mode="after")
    def _differ(self) -> "QuietHours":
        if self.start == self.end:
            raise PydanticCustomError(
                "no_time",
                "The quiet time begins and ends at the same time. Give two times, or null.",
            )
        return self

    def contains(self, clock: time) -> bool:
        """Return whether a time of day is in the user's quiet time, which has no notices."""
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end


Kinds = Annotated[list[NoticeKind], Field(max_length=len(NoticeKind))]


class NoticePreferences(RequestModel):
    """Which notices the user wants, and when. In a request, omitted fields keep their values.

    Attributes:
        mail: The kinds of notices that are sent by e-mail.
        push: The kinds of notices that are sent by web push.
        delay_minutes: The minutes between a reply or a mention and its notice. If the user reads
            the reply or the mention in this time, there is no notice.
        quiet_hours: A daily time without notices; null if there is none. Notices that are still
            needed are sent at its end.
        quiet_days: The days of the week without notices.
        show_text: True to include the text of messages, notes and tasks. Other companies' servers
            and a locked phone may show it.
    """

    model_config = example(
        mail=["mention"], push=["reply", "mention", "task"], quiet_days=["sat", "sun"]
    )

    mail: Kinds = Field(default_factory=list)
    push: Kinds = Field(default_factory=lambda: list(NoticeKind))
    delay_minutes: Annotated[int, Field(ge=SHORTEST_DELAY, le=LONGEST_DELAY, strict=True)] = (
        USUAL_DELAY
    )
    quiet_hours: QuietHours | None = None
    quiet_days: Annotated[list[Day], Field(max_length=len(DAYS))] = Field(default_factory=list)
    show_text: Annotated[bool, Field(strict=True)] = False

    def kinds(self, channel: NoticeChannel) -> frozenset[NoticeKind]:
        """Return the kinds of notices that the user wants to get by this channel."""
        return frozenset(self.mail if channel is NoticeChannel.MAIL else self.push)

    def is_quiet(self, at: datetime, timezone: str) -> bool:
        """Return whether the user wants no notices at an instant.

        Args:
            at: The instant.
            timezone: The IANA time zone of the user.
        """
        local = at.astimezone(ZoneInfo(timezone))
        if DAYS[local.weekday()] in self.quiet_days:
            return True
        return self.quiet_hours is not None and self.quiet_hours.contains(local.time())


def read_notice_preferences(stored: dict[str, Any] | None) -> NoticePreferences:
    """Return the notice preferences of a user: the stored fields, and defaults for the others."""
    return NoticePreferences.model_validate(stored or {})

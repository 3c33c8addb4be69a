"""Request and response models of calendar feeds."""

from uuid import UUID

from pydantic import StrictBool

from crm_api.domain.kit.examples import example, example_id
from crm_api.domain.kit.fields import Name200
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel

NAME = "Visits of Olga"


class CalendarFeedCreate(RequestModel):
    """A new calendar feed.

    Attributes:
        name: The name that calendar programs show.
        assignee_id: The user whose appointments the feed shows. If null, it shows those of all
            users.
        busy_only: True to show only when somebody is busy, without people and places.
    """

    model_config = example(name=NAME, assignee_id=example_id("user"))

    name: Name200
    assignee_id: UUID | None = None
    busy_only: StrictBool = False


class CalendarFeedRead(ReadModel):
    """A calendar feed.

    Attributes:
        name: The name that calendar programs show.
        assignee_id: The user whose appointments the feed shows. If null, it shows those of all
            users.
        busy_only: Whether the feed shows only when somebody is busy.
        author: Who created it: the name of an API key, or the e-mail address of a user.
    """

    model_config = example(name=NAME, busy_only=False, author="olga@granite.example.com")

    id: Id
    name: str
    assignee_id: Id | None
    busy_only: bool
    author: str
    created_at: Instant


class CalendarFeedCreated(CalendarFeedRead):
    """A new calendar feed with its address, which is shown only now.

    Attributes:
        url: The secret address. Everybody who knows it can read the calendar without signing in.
    """

    model_config = example(
        CalendarFeedRead,
        url="https://crm.example.com/calendar/Yk3vJ0m8q2h5s7d9f1g4k6l8.ics",
    )

    url: str

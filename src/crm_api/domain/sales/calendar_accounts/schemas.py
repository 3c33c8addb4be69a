"""Request and response models of calendar accounts."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, SecretStr

from crm_api.domain.kit.examples import NOW, example, example_id
from crm_api.domain.kit.fields import Name200, Text, TimeZoneName
from crm_api.domain.kit.regions import EASTERN
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.sales.calendar_accounts.models import CalendarAccountStatus

URL = "https://dav.example.com/olga/visits/"
CalendarUrl = Annotated[str, Text(longest=2_000, shortest=1)]
_SHOWN = {"name": "Visits", "url": URL, "username": "olga", "timezone": EASTERN}


class CalendarAccountCreate(RequestModel):
    """A new calendar account.

    Attributes:
        name: The name of the account, and the author of the appointments from the calendar.
        url: The address of the calendar (the collection) on its CalDAV server.
        username: The user name at the server.
        password: The password at the server; use a separate password. It is stored encrypted and
            never shown.
        assignee_id: The user whose appointments are in the calendar; new events become appointments
            of this user. Null: all users.
        timezone: The IANA time zone of events that have no time zone.
    """

    model_config = example(**_SHOWN, password="abcd-efgh", assignee_id=example_id("user"))  # noqa: S106 - an example

    name: Name200
    url: CalendarUrl
    username: Name200
    password: SecretStr = Field(min_length=1, max_length=200)
    assignee_id: UUID | None = None
    timezone: TimeZoneName = EASTERN


class CalendarAccountRead(ReadModel):
    """A calendar account. The password is never shown.

    Attributes:
        name: The name of the account.
        url: The address of the calendar.
        username: The user name at the server.
        assignee_id: The user whose appointments are in the calendar; null for all users.
        timezone: The IANA time zone of events that have no time zone.
        status: Whether the calendar is synchronised.
        error: Why the last synchronisation failed, and what to do; null if it succeeded.
        last_synced_at: When the last successful synchronisation ended; null if never.
        next_sync_at: When the next synchronisation is due.
        author: Who created the account: the name of an API key, or the e-mail address of a user.
    """

    model_config = example(
        **_SHOWN,
        status="active",
        error=None,
        last_synced_at=NOW,
        next_sync_at=NOW,
        author="olga@granite.example.com",
    )

    id: Id
    name: str
    url: str
    username: str
    assignee_id: Id | None
    timezone: str
    status: Annotated[str, Vocabulary(CalendarAccountStatus)]
    error: str | None
    last_synced_at: Instant | None
    next_sync_at: Instant
    author: str
    created_at: Instant

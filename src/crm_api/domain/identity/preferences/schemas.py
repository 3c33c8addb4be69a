"""Request and response models of preferences and saved views."""

from typing import Annotated, Self

from pydantic import Field, StrictBool, StrictInt

from crm_api.domain.identity.preferences.models import (
    Language,
    SavedView,
    Theme,
    UserPreferences,
    ViewedList,
)
from crm_api.domain.identity.preferences.notices import (
    NoticePreferences,
    read_notice_preferences,
)
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import BlankIsNull, Name200, Text, TimeZoneName
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary

MOST_PARAMETERS = 30
MOST_VALUES = 100

Parameter = Annotated[str, Text(shortest=1, longest=100)]
ParameterText = Annotated[str, Text(longest=500)]
ParameterValue = (
    StrictBool
    | StrictInt
    | ParameterText
    | Annotated[list[ParameterText], Field(max_length=MOST_VALUES)]
)
ViewFilter = Annotated[
    dict[Parameter, ParameterValue],
    Field(
        max_length=MOST_PARAMETERS,
        description="The query parameters of the list, by name. A parameter with several values "
        "is an array.",
    ),
]


class PreferencesUpdate(RequestModel):
    """The preferences to change. A field that is left out keeps its value.

    Attributes:
        timezone: The IANA time zone of times on screens; null for the device's time zone.
        language: The language of the screens.
        theme: The colours of the screens.
        notices: Which notices you want, by which channel, and when.
    """

    model_config = example(timezone="America/New_York", theme="dark", notices={"mail": ["mention"]})

    timezone: Annotated[TimeZoneName | None, BlankIsNull] = None
    language: Language = Language.ENGLISH
    theme: Theme = Theme.SYSTEM
    notices: NoticePreferences = Field(default_factory=NoticePreferences)


class PreferencesRead(ReadModel):
    """The preferences of the calling user.

    Attributes:
        timezone: The IANA time zone of times on screens; null for the device's time zone.
        language: The language of the screens.
        theme: The colours of the screens.
        notices: Which notices you want, by which channel, and when.
        updated_at: When the preferences were last changed; null if never.
    """

    model_config = example(timezone="America/New_York", language="en", theme="dark")

    timezone: str | None
    language: Annotated[str, Vocabulary(Language)]
    theme: Annotated[str, Vocabulary(Theme)]
    notices: NoticePreferences
    updated_at: Instant | None

    @classmethod
    def of(cls, stored: UserPreferences | None) -> Self:
        """Build the response from the stored row; without a row, use the default values."""
        if stored is None:
            return cls(
                timezone=None,
                language=Language.ENGLISH,
                theme=Theme.SYSTEM,
                notices=NoticePreferences(),
                updated_at=None,
            )
        return cls.built_from(stored, notices=read_notice_preferences(stored.notices))


class SavedViewCreate(RequestModel):
    """A filter of a list, and the name under which the filter is stored.

    Attributes:
        list: The list that the view filters.
        name: The name of the view, unique among the user's views of this list.
    """

    model_config = example(
        list="tasks", name="Mine, open", filter={"assignee": "me", "status": "open"}
    )

    list: ViewedList
    name: Name200
    filter: ViewFilter


class SavedViewUpdate(RequestModel):
    """The fields of a saved view to change. A field that is left out keeps its value.

    Attributes:
        name: The name of the view, unique among the user's views of this list.
    """

    model_config = example(name="Mine")

    name: Name200 = ""
    filter: ViewFilter = Field(default_factory=dict)


class SavedViewRead(ReadModel):
    """A stored filter of a list, with the name that the calling user gave to the filter.

    Attributes:
        list: The list that the view filters.
        name: The name of the view.
        filter: The query parameters of the list, by name.
    """

    model_config = example(
        list="tasks", name="Mine, open", filter={"assignee": "me", "status": "open"}
    )

    id: Id
    list: Annotated[str, Vocabulary(ViewedList)]
    name: str
    filter: dict[str, ParameterValue]
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, view: SavedView) -> Self:
        """Build the response from a saved view: a named filter of a list."""
        return cls.model_validate(view)

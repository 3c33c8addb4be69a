"""What every request and every answer has in common."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

Item = TypeVar("Item")


def format_instant(value: datetime) -> str:
    """Write an instant as ISO 8601 in UTC with ``Z``, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    PlainSerializer(format_instant, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""An instant in an answer: always UTC with ``Z``."""

Id = Annotated[
    UUID,
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "uuid"}, mode="serialization"),
]
"""An id in an answer."""


class RequestModel(BaseModel):
    """A request body; an unknown field is refused, so that a typo cannot pass."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class ReadModel(BaseModel):
    """An answer, built from a row."""

    model_config = ConfigDict(
        from_attributes=True,
        # A default is in the answer too: clients need not ask whether it is there.
        json_schema_serialization_defaults_required=True,
    )


class PageRead(BaseModel, Generic[Item]):
    """One page of a list; ``next_cursor`` is null on the last."""

    data: list[Item]
    next_cursor: Annotated[str | None, Field(description="Null on the last page.")]

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name a page after its items, as generated clients then have it: ``ContactPage``."""
        return f"{params[0].__name__.removesuffix('Read').removesuffix('Item')}Page"


JsonObject = dict[str, Any]

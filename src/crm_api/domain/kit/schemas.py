"""Base models and types of all requests and responses."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Self, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from crm_api.domain.kit.docstrings import split_docstring
from crm_api.domain.kit.paging import Page

Item = TypeVar("Item")
Row = TypeVar("Row")


def format_instant(value: datetime) -> str:
    """Write an instant as ISO 8601 in UTC with ``Z``, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    PlainSerializer(format_instant, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""An instant in a response. It is always in UTC and ends in ``Z``."""

Id = Annotated[
    UUID,
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "uuid"}, mode="serialization"),
]
"""An id in a response."""


class DocumentedModel(BaseModel):
    """A model whose fields are described in its docstring or in the docstring of a base class.

    A description in the ``Field`` has priority over ``Attributes`` in the docstring.
    """

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the descriptions from the docstrings to the schema."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for base in cls.__mro__:
            for name, text in split_docstring(base.__doc__)[1].items():
                if name in properties:
                    properties[name].setdefault("description", text)
        return schema


class RequestModel(DocumentedModel):
    """A request body. Unknown fields are refused, so that a misspelt name is noticed."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class ReadModel(DocumentedModel):
    """A response body. It can be built from the attributes of an object."""

    model_config = ConfigDict(
        from_attributes=True,
        # The OpenAPI document shows fields with defaults as required in responses, because
        # responses always contain them. So clients need not check whether a field is present.
        json_schema_serialization_defaults_required=True,
    )

    @classmethod
    def built_from(cls, source: object, **own: object) -> Self:
        """Build the response from the attributes of an object, except the fields in ``own``."""
        names = cls.model_fields.keys() - own.keys()
        return cls.model_validate({name: getattr(source, name) for name in names} | own)


class PageRead(DocumentedModel, Generic[Item]):
    """One page of a list.

    Attributes:
        data: The items of this page, in the order of the list.
    """

    data: list[Item]
    next_cursor: Annotated[
        str | None, Field(description="The `cursor` of the next page; null on the last page.")
    ]

    @classmethod
    def of(cls, page: Page[Row], to_item: Callable[[Row], Item]) -> "PageRead[Item]":
        """Return the page of the API response; ``to_item`` converts each row."""
        return cls(data=[to_item(row) for row in page.data], next_cursor=page.next_cursor)

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Return the name of the page model in the API document, such as ``ContactPage``."""
        return f"{params[0].__name__.removesuffix('Read').removesuffix('Item')}Page"


JsonObject = dict[str, Any]

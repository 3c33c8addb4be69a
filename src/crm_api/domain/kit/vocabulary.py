"""Enumerations in the CHECK constraints of tables, and in the documentation of text fields.

OpenAPI documents such a text field as an enumeration. But responses are not validated against the
enumeration, because a newer release may have stored a value that this release does not know.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from crm_api.domain.kit.docstrings import split_docstring


def one_of(column: str, values: Iterable[str]) -> str:
    """Return ``column IN ('a', 'b')`` for a CHECK or a partial index.

    The values are not escaped, so they must come from a StrEnum of this code, not from a request.
    """
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


SET = "x-set"
"""A key in the JSON schema of a text field with fixed values. Its value has the title and the
description of the enumeration of these values.

``routers/http/openapi/naming.py`` makes one shared component of each enumeration, and removes this
key from the OpenAPI document.
"""


@dataclass(frozen=True)
class Vocabulary:
    """Lists the possible values of a text field in the OpenAPI document.

    The annotation ``Annotated[str, Vocabulary(LineStatus)]`` only documents the field. The value of
    the field is not checked.

    Attributes:
        words: The enum with the possible values.
        name: The name of the enumeration in the OpenAPI document. The default is the name of the
            enum class.
    """

    words: type[StrEnum]
    name: str | None = None

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate only the type of the field; do not check that the value is in ``words``."""
        return handler(source)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema of the field with the possible values.

        The title and the description of the enumeration are under the key ``SET``.
        """
        documented: Any = core_schema.enum_schema(self.words, list(self.words), sub_type="str")
        shown = handler(documented)
        name = {"title": self.name or self.words.__name__}
        described = {"description": shown.pop("description")} if "description" in shown else {}
        return {**shown, SET: name | described}


def meanings(words: type[StrEnum]) -> dict[str, str]:
    """Return the meaning of each value of an enum, as the docstring of the enum explains it.

    The meanings are the texts under ``Attributes``.

    Raises:
        KeyError: The docstring does not explain a value.
    """
    by_name = split_docstring(words.__doc__)[1]
    return {word.value: by_name[word.name] for word in words}

"""Closed sets of words in answers: documented as enumerations, but not checked.

A row that a newer release wrote may hold a word that this release does not know. The answer still
shows it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from crm_api.domain.kit.docstrings import split_docstring

SET = "x-set"
"""Title and description of the component; ``routers/http/openapi/naming.py`` takes it out."""


@dataclass(frozen=True)
class Vocabulary:
    """Documents a text as one of a StrEnum: ``Annotated[str, Vocabulary(LineStatus)]``.

    Attributes:
        words: The set.
        name: The component's name in the OpenAPI document; None: the name of the class.
    """

    words: type[StrEnum]
    name: str | None = None

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Accept any text."""
        return handler(source)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Show the set's words; ``SET`` names the component that every use of the set shares."""
        documented: Any = core_schema.enum_schema(self.words, list(self.words), sub_type="str")
        shown = handler(documented)
        name = {"title": self.name or self.words.__name__}
        described = {"description": shown.pop("description")} if "description" in shown else {}
        return {**shown, SET: name | described}


def meanings(words: type[StrEnum]) -> dict[str, str]:
    """Return each word of a set with its meaning, from the ``Attributes`` of the docstring.

    Raises:
        KeyError: A word has no meaning in the docstring.
    """
    by_name = split_docstring(words.__doc__)[1]
    return {word.value: by_name[word.name] for word in words}

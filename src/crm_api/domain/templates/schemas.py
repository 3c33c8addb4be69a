"""Saved texts in and out."""

from typing import Self

from crm_api.domain.campaigns.schemas import Text
from crm_api.domain.campaigns.segments import Encoding, segments
from crm_api.domain.campaigns.template import compile_text, names_in
from crm_api.domain.fields import Name200
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.templates.models import MessageTemplate


class TemplateCreate(RequestModel):
    """A text to be saved under a name."""

    name: Name200
    body: Text


class TemplateUpdate(RequestModel):
    """What changes; a field left out stays."""

    name: Name200 = ""
    body: Text = ""


class TemplateRead(ReadModel):
    """A saved text.

    Attributes:
        variables: The values that it names, such as ``first_name`` or ``attributes.roof``.
        encoding: Null, like ``segments``, for a text with markup: it depends on the reader.
    """

    id: Id
    name: str
    body: str
    variables: list[str]
    encoding: Encoding | None
    segments: int | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: MessageTemplate) -> Self:
        """Shape a saved text."""
        compiled = compile_text(found.body)
        encoding, count = segments(compiled.body) if compiled.template is None else (None, None)
        return cls(
            id=found.id,
            name=found.name,
            body=found.body,
            variables=names_in(compiled),
            encoding=encoding,
            segments=count,
            created_at=found.created_at,
            updated_at=found.updated_at,
        )

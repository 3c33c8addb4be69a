"""Request and response models of message templates."""

from typing import Annotated, Self

from crm_api.domain.campaigns.models import MessageTemplate
from crm_api.domain.campaigns.templates.template_text import (
    MAX_TEXT,
    compile_body,
    list_variables,
    remove_unsendable,
)
from crm_api.domain.kit.examples import TEXT, example
from crm_api.domain.kit.fields import Name200, Text
from crm_api.domain.kit.message_segments import Encoding, segments
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel

Body = Annotated[str, Text(shortest=1, longest=MAX_TEXT, has_lines=True, clean=remove_unsendable)]


class TemplateCreate(RequestModel):
    """A new template: a saved message body that campaigns can copy.

    Attributes:
        name: The name of the template. No other template may have it.
        body: The message body, in Liquid.
    """

    model_config = example(name="First message", body=TEXT)

    name: Name200
    body: Body


class TemplateUpdate(RequestModel):
    """Changes to a template. Fields that the request leaves out do not change.

    Attributes:
        name: The name of the template. No other template may have it.
        body: The message body, in Liquid.
    """

    model_config = example(body="Hi {{ first_name }}, we are in Quincy again. Shall we come by?")

    name: Name200 = ""
    body: Body = ""


class TemplateRead(ReadModel):
    """A template: a saved message body that campaigns can copy.

    Attributes:
        id: The id of the template.
        name: The name of the template.
        body: The message body, in Liquid.
        variables: The variables in the body, such as ``first_name`` or ``attributes.roof``.
        encoding: The encoding of the message; null if the body has variables or tags, because the
            encoding then depends on the contact.
        segments: The number of segments of the message; null if the body has variables or tags. The
            provider charges for each segment.
        created_at: When the template was created.
        updated_at: When the template was last changed.
    """

    model_config = example(name="First message", body=TEXT, variables=["first_name"], segments=2)

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
        """Build the response model of the API from a stored template."""
        compiled = compile_body(found.body)
        encoding, count = segments(compiled.body) if compiled.template is None else (None, None)
        return cls(
            id=found.id,
            name=found.name,
            body=found.body,
            variables=list_variables(compiled),
            encoding=encoding,
            segments=count,
            created_at=found.created_at,
            updated_at=found.updated_at,
        )

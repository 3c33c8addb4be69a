"""Request and response models of message templates."""

from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.campaigns.templates.models import TemplateStatus
from crm_api.domain.campaigns.templates.template_text import (
    MAX_TEXT,
    compile_body,
    list_variables,
    remove_unsendable,
)
from crm_api.domain.campaigns.templates.versions import TemplateDetail
from crm_api.domain.kit.examples import TEXT, example
from crm_api.domain.kit.fields import BlankIsNull, Name200, Text
from crm_api.domain.kit.message_segments import Encoding, segments
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel

LONGEST_CATEGORY = 40
LONGEST_NOTE = 1_000

Body = Annotated[str, Text(shortest=1, longest=MAX_TEXT, has_lines=True, clean=remove_unsendable)]


Category = Annotated[
    Annotated[str, Text(longest=LONGEST_CATEGORY)] | None,
    BlankIsNull,
    Field(
        description="A word of your choice by which you find templates; null if there is none.",
        examples=["first message"],
    ),
]
Note = Annotated[str, Text(shortest=1, longest=LONGEST_NOTE, has_lines=True)]
DecidedVersion = Annotated[
    int | None,
    Field(
        ge=1,
        le=1_000_000_000,
        description="The version that you read. If it is not the newest one any more, the request "
        "is refused. By default, the request is about the newest version.",
    ),
]


class TemplateCreate(RequestModel):
    """A new template: a saved message body that campaigns can copy.

    Attributes:
        name: The name of the template. No other template may have it.
        body: The message body, in Liquid.
    """

    model_config = example(name="First message", category="cold", body=TEXT)

    name: Name200
    category: Category = None
    body: Body


class TemplateUpdate(RequestModel):
    """Changes to a template. Fields that the request leaves out do not change.

    Attributes:
        name: The name of the template. No other template may have it.
        body: The message body, in Liquid. A changed body becomes a new version, which is a draft.
    """

    model_config = example(body="Hi {{ first_name }}, we are in Quincy again. Shall we come by?")

    name: Name200 = ""
    category: Category = None
    body: Body = ""


class TemplateDecision(RequestModel):
    """A submission or an approval of the newest version of a template.

    Attributes:
        note: A note for the other users; null if there is no note.
    """

    model_config = example(version=2, note="Please look at the second sentence.")

    version: DecidedVersion = None
    note: Annotated[Note | None, BlankIsNull] = None


class TemplateRejection(RequestModel):
    """A rejection of the newest version of a template.

    Attributes:
        note: Why the version may not be sent, and what must change.
    """

    model_config = example(version=2, note="The price is last year's.")

    version: DecidedVersion = None
    note: Note


class TemplateVersionRead(ReadModel):
    """A body that a template has or had. The body of a version never changes.

    Attributes:
        version: The number of the version; the first one is 1.
        body: The message body, in Liquid.
        status: The state of the approval of the version.
        author_name: The API key or user who wrote the body; null if it is not known.
        submitted_at: When the version was last submitted; null if it never was.
        decided_at: When the version was approved or rejected; null until then.
        decided_by: The API key or user who approved or rejected the version; null until then.
        note: The note of the last submission or decision; null if there is none.
        created_at: When the body was written.
    """

    model_config = example(
        version=1,
        body=TEXT,
        status="approved",
        author_name="ada@granite.example",
        decided_by="grace@granite.example",
        note=None,
    )

    version: int
    body: str
    status: TemplateStatus
    author_name: str | None
    submitted_at: Instant | None
    decided_at: Instant | None
    decided_by: str | None
    note: str | None
    created_at: Instant


class TemplateRead(ReadModel):
    """A template: a saved message body that campaigns can copy.

    Attributes:
        id: The id of the template.
        name: The name of the template.
        category: A word of your choice by which you find templates; null if there is none.
        body: The message body of the newest version, in Liquid.
        version: The number of the newest version.
        status: The status of the newest version.
        note: The note of the last submission or decision; null if there is none.
        versions: The newest 100 versions, in ascending order.
        variables: The variables in the body, such as ``first_name`` or ``attributes.roof``.
        encoding: The encoding of the message; null if it depends on the contact.
        segments: The number of segments. The provider charges for each. Null if it depends on the
            contact.
        created_at: When the template was created.
        updated_at: When the template was last changed.
    """

    model_config = example(
        name="First message",
        category="cold",
        body=TEXT,
        version=1,
        status="approved",
        note=None,
        variables=["first_name"],
        segments=2,
    )

    id: Id
    name: str
    category: str | None
    body: str
    version: int
    status: TemplateStatus
    note: str | None
    versions: list[TemplateVersionRead]
    variables: list[str]
    encoding: Encoding | None
    segments: int | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: TemplateDetail) -> Self:
        """Build the response model of the API from a stored template."""
        template, current = found.template, found.current
        compiled = compile_body(template.body)
        encoding, count = segments(compiled.body) if compiled.template is None else (None, None)
        newest = found.versions[-1].version if found.versions else 0
        return cls(
            id=template.id,
            name=template.name,
            category=template.category,
            body=template.body,
            version=newest if current is not None else newest + 1,
            status=TemplateStatus.DRAFT if current is None else TemplateStatus(current.status),
            note=None if current is None else current.note,
            versions=[TemplateVersionRead.model_validate(one) for one in found.versions],
            variables=list_variables(compiled),
            encoding=encoding,
            segments=count,
            created_at=template.created_at,
            updated_at=template.updated_at,
        )

"""Request and response models of erasures."""

from typing import Annotated

from pydantic import Field

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Name200
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.people.models.erasure import ErasureStatus


class EraseRequest(RequestModel):
    """A request to erase a contact."""

    model_config = example(reason="asked by letter")

    reason: Annotated[
        Name200,
        Field(
            description="Why the contact is erased. The reason stays stored, so it must not name "
            "the person."
        ),
    ]


class ErasureRead(ReadModel):
    """The erasure of a contact.

    With the status ``completed``, no table contains the person's phone numbers or e-mail address
    any more.

    Attributes:
        contact_id: The id of the erased contact.
        reason: Why the contact was erased.
        actor: The API key or the user that requested the erasure, by name or e-mail address.
        created_at: When the erasure was requested. The contact was erased at that time.
        finished_at: When the search of all tables was completed; null until then.
    """

    model_config = example(reason="asked by letter", status="completed")

    id: Id
    contact_id: Id
    reason: str
    actor: str
    status: Annotated[str, Vocabulary(ErasureStatus)]
    created_at: Instant
    finished_at: Instant | None

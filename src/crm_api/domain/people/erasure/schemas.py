"""Request and response models of erasures."""

from typing import Annotated

from pydantic import Field

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Name200
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.people.models.erasure import ErasureStatus


class EraseRequest(RequestModel):
    """Why a contact is erased."""

    model_config = example(reason="asked by letter")

    reason: Annotated[
        Name200, Field(description="The reason is kept, so do not name the person in it.")
    ]


class ErasureRead(ReadModel):
    """One erasure; ``completed`` means that no table names the person any more."""

    model_config = example(reason="asked by letter", status="completed")

    id: Id
    contact_id: Id
    reason: str
    actor: str
    status: Annotated[str, Vocabulary(ErasureStatus)]
    created_at: Instant
    finished_at: Instant | None

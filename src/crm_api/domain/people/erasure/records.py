"""Read the erasures that were requested."""

from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import select

from crm_api.domain.kit.errors import ConflictError, Example, NotFoundError
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Name200
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.people.models.erasure import Erasure, ErasureStatus
from crm_api.platform.database import UnitOfWork, get_or_raise

OUTCOME_UNKNOWN = (
    "It is not known yet whether a message to this person was sent. Try again in some minutes. If "
    "the service cannot find it out, use POST /v1/messages/{message_id}/settle to decide whether "
    "the message was sent. Then try again."
)


class ErasureBlockedError(ConflictError):
    """Nothing was erased, because it is not known yet if messages to the person were sent.

    ``texts`` is the number of these messages.
    """

    code = "text_under_way"
    title = "A message is in progress"
    example = Example(
        OUTCOME_UNKNOWN,
        texts=1,
    )


class ErasureNotFoundError(NotFoundError):
    """No erasure has this id."""

    code = "erasure_not_found"
    title = "Erasure not found"
    detail = "No erasure has this id. GET /v1/erasures lists the erasures."


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
        actor: The name of the API key, or the e-mail address of the user, that requested the
            erasure.
        created_at: When the erasure was requested and the contact was erased.
        finished_at: When all tables had been searched; null until then.
    """

    model_config = example(reason="asked by letter", status="completed")

    id: Id
    contact_id: Id
    reason: str
    actor: str
    status: Annotated[str, Vocabulary(ErasureStatus)]
    created_at: Instant
    finished_at: Instant | None


async def get_erasure(uow: UnitOfWork, *, erasure_id: UUID) -> Erasure:
    """Return an erasure.

    Raises:
        ErasureNotFoundError: No erasure has this id.
    """
    return await get_or_raise(uow.session, Erasure, erasure_id, ErasureNotFoundError)


async def list_erasures(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Erasure]:
    """List erasures, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    return await read_newest(
        uow.session,
        select(Erasure),
        Erasure.created_at,
        Erasure.id,
        cursors=Cursors("erasures"),
        cursor=cursor,
        limit=limit,
    )

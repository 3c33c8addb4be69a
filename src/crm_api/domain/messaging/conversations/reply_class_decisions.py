"""Store the class that a user chooses for a reply, and change the flags of the number."""

from datetime import datetime
from typing import Annotated, Self, Unpack
from uuid import UUID

from pydantic import Field
from sqlalchemy import text

from crm_api.domain.consent.models import ConsentSource, FlagType
from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass, ReplyClassSource
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.flags import flag_rows
from crm_api.domain.messaging.consent_decisions.service import DecisionDetails
from crm_api.domain.messaging.conversations.errors import MessageNotReceivedError
from crm_api.domain.messaging.conversations.participants import as_phone
from crm_api.domain.messaging.conversations.service import get_message
from crm_api.domain.messaging.models.timeline import Activity, Direction
from crm_api.platform.database import UnitOfWork

WRONG_NUMBER = "a reply came from a wrong number"
"""The reason that is stored with the flag ``invalid_number`` if the reply class ``wrong_number``
has set the flag. If the flag has another reason, the flag stays when the reply class changes."""


class ReplyClassWrite(RequestModel):
    """The class that a user chooses for a reply.

    Attributes:
        class: The kind of the reply. `stop` opts the sender's number out. `wrong_number` sets the
            flag `invalid_number`.
    """

    model_config = example(**{"class": "interested"})

    reply_class: Annotated[ReplyClass, Field(alias="class")]


class ReplyClassRead(ReadModel):
    """The kind of a reply, and who chose it.

    Attributes:
        value: The kind of the reply.
        by: `model` or `rule` if the reply reader chose the kind when the message arrived; otherwise
            the id of the user or of the API key that chose it.
    """

    model_config = example(value="interested", by=ReplyClassSource.MODEL)

    value: Annotated[str, Vocabulary(ReplyClass)]
    by: str

    @classmethod
    def of(cls, message: Activity) -> Self | None:
        """Return the kind of a reply, and who chose it; None if the message has no kind."""
        if message.reply_class is None or message.reply_class_by is None:
            return None
        return cls(value=message.reply_class, by=message.reply_class_by)


SET_REPLY_CLASS = text("""
    UPDATE activity a SET reply_class = :reply_class, reply_class_by = :reply_class_by
    WHERE a.id = :id
""")


async def decide_reply_class(
    uow: UnitOfWork,
    *,
    message_id: UUID,
    reply_class: ReplyClass,
    caller_id: str,
    actor: str,
    source: ConsentSource,
    now: datetime,
    secret: bytes,
) -> Activity:
    """Store the class that a user chose for a reply; return the changed message.

    The class ``stop`` opts the sender's number out. The number stays opted out if the class is
    changed later. The class ``wrong_number`` sets the flag ``invalid_number``. This flag is removed
    if the class is changed later.

    Args:
        caller_id: The id of the user or API key that chose the class.
        actor: The name of the caller for the consent history.

    Raises:
        MessageNotFoundError: No message has this id.
        MessageNotReceivedError: The message was not received from a person.
    """
    message = await get_message(uow, message_id)
    if message.direction != Direction.INCOMING:
        raise MessageNotReceivedError
    phone = as_phone(message.phone or "")
    # A sender without a phone number (a name, a short code, an erased person) has no flags.
    if phone is not None:
        details = DecisionDetails(
            phone=phone,
            contact_id=message.contact_id,
            source=source,
            actor=actor,
            reason=f"reply class {reply_class}",
            activity_id=message_id,
            message_id=message_id,
            now=now,
            secret=secret,
        )
        await consent.lock_people(uow, phones=[phone])
        await _change_number(uow, message, reply_class, **details)
    values = {"id": message_id, "reply_class": reply_class, "reply_class_by": caller_id}
    await uow.session.execute(SET_REPLY_CLASS, values)
    uow.session.expire_all()
    return await get_message(uow, message_id)


async def _change_number(
    uow: UnitOfWork, message: Activity, reply_class: ReplyClass, **details: Unpack[DecisionDetails]
) -> None:
    """Change the flags of the number, as the new class of the reply requires.

    The class ``stop`` opts the number out, and ``wrong_number`` sets the flag ``invalid_number``.
    Each class except ``wrong_number`` removes the flag ``invalid_number``, if an earlier choice of
    ``wrong_number`` has set it.
    """
    flags = await flag_rows(uow.session, phone=details["phone"], now=details["now"])
    reasons = {flag.flag_type: flag.reason for flag in flags}
    invalid = FlagType.INVALID_NUMBER
    if reply_class is ReplyClass.STOP:
        # A user may already have chosen the class `stop` for this message, for example because the
        # request is repeated. Then this request is a second opt-out only if the flag `opted_out` is
        # missing.
        is_decided = message.reply_class == ReplyClass.STOP and _is_by_user(message)
        if not is_decided or FlagType.OPTED_OUT not in reasons:
            await consent.opt_out(uow, **details)
    elif reply_class is ReplyClass.WRONG_NUMBER and invalid not in reasons:
        marked: DecisionDetails = {**details, "reason": WRONG_NUMBER}
        await consent.add_flag(uow, flag=invalid, expires_at=None, **marked)
    if reply_class is not ReplyClass.WRONG_NUMBER and reasons.get(invalid) == WRONG_NUMBER:
        await consent.remove_flag(uow, flag=invalid, **details)


def _is_by_user(message: Activity) -> bool:
    return message.reply_class_by not in set(ReplyClassSource)

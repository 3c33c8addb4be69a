"""Request and response schemas of the class of a reply."""

from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass, ReplyClassSource
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.models.timeline import Activity


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

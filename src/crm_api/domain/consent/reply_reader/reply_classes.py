"""The classes of replies: the reply reader proposes a class, and a user may change it."""

from enum import StrEnum


class ReplyClass(StrEnum):
    """The class of a reply. The reader proposes a class, and a user may choose another one.

    Attributes:
        INTERESTED: The person wants the offer or an appointment.
        QUESTION: The person asks something.
        LATER: The person wants to be asked again at another time.
        NOT_INTERESTED: The person does not want the offer. This is not an opt-out.
        WRONG_NUMBER: The number does not belong to the contact.
        STOP: The person wants no more messages. Their number is opted out.
        OTHER: The reply says something else, or is not clear.
    """

    INTERESTED = "interested"
    QUESTION = "question"
    LATER = "later"
    NOT_INTERESTED = "not_interested"
    WRONG_NUMBER = "wrong_number"
    STOP = "stop"
    OTHER = "other"


class ReplyClassSource(StrEnum):
    """The part of the reply reader that proposed a class.

    Attributes:
        MODEL: The trained model.
        RULE: A rule: the reply is a keyword, a courtesy (such as "thanks"), a reaction to our
            message, a phrase with a certain class, or a question.
    """

    MODEL = "model"
    RULE = "rule"


CLASSES = tuple(ReplyClass)
"""All classes, in the order of the model's outputs."""

"""The kinds of replies that the model proposes."""

from enum import StrEnum


class ReplyClass(StrEnum):
    """The kind of a reply, such as a question; the model proposes it and a person may change it."""

    INTERESTED = "interested"
    QUESTION = "question"
    LATER = "later"
    NOT_INTERESTED = "not_interested"
    WRONG_NUMBER = "wrong_number"
    STOP = "stop"
    OTHER = "other"


CLASSES = tuple(ReplyClass)
"""All kinds, in the order of the model's outputs."""

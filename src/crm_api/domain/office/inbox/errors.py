"""Errors of the inbox."""

from uuid import UUID

from crm_api.domain.kit.errors import ConflictError, Example, FieldProblem, InvalidError
from crm_api.domain.kit.examples import example_id
from crm_api.domain.messaging.models.conversations import ConversationState


class InvalidSnoozeError(InvalidError):
    """Field `snoozed_until` is missing, in the past, too far ahead, or does not fit the state."""

    code = "invalid_snooze"
    title = "Invalid time of a snooze"
    pointer = "/snoozed_until"
    detail = "The time in `snoozed_until` is over. Give a time in the future."


class InvalidStatesError(InvalidError):
    """The parameter `state` contains a word that is not the state of a conversation."""

    code = "invalid_states"
    title = "Unknown state of a conversation"
    example = Example("wating", pointer="/state")

    def __init__(self, word: str, *, pointer: str) -> None:
        known = ", ".join(ConversationState)
        detail = (
            f"{word!r} is not the state of a conversation. Give one or more of these, separated by "
            f"commas: {known}."
        )
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )


class DryRunNeededError(InvalidError):
    """The request has no token of a dry run."""

    code = "dry_run_needed"
    title = "Dry run needed"
    pointer = "/token"
    detail = (
        "First send the request with `dry_run: true`, and check the count in the response. "
        "Then send the real request with the `token` from that response."
    )


class TooManyConversationsError(InvalidError):
    """The filter selects more conversations than one request can change."""

    code = "too_many_conversations"
    title = "Too many conversations"
    pointer = "/filter"
    example = Example(50_000)

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The filter selects more than {most:,} conversations. One request cannot change more. "
            "Narrow the filter, for example by line or by campaign."
        )


class ConversationTakenError(ConflictError):
    """Another user is responsible for the conversation that the caller wants to take."""

    code = "conversation_taken"
    title = "Conversation taken by somebody else"
    example = Example(UUID(example_id("user")), "Olga Meyer")

    def __init__(self, user_id: UUID, name: str) -> None:
        super().__init__(
            "The conversation was not assigned to you, because another user is responsible for it "
            "(see `assignee`). To take it over, send the request again with `confirm: true`.",
            assignee={"id": str(user_id), "name": name},
        )

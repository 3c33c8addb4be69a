"""Errors of the inbox."""

from uuid import UUID

from crm_api.domain.kit.errors import ConflictError, Example, InvalidError
from crm_api.domain.kit.examples import example_id


class InvalidSnoozeError(InvalidError):
    """The state `snoozed` and `snoozed_until` do not fit, or the time is not ahead."""

    code = "invalid_snooze"
    title = "Invalid time of a snooze"
    pointer = "/snoozed_until"
    example = Example("The time in `snoozed_until` is over. Give a time in the future.")


class ConversationTakenError(ConflictError):
    """Another user is responsible for the conversation that the caller wants to take."""

    code = "conversation_taken"
    title = "Conversation taken by somebody else"
    example = Example(UUID(example_id("user")), "Olga Meyer")

    def __init__(self, user_id: UUID, name: str) -> None:
        super().__init__(
            "The conversation was not assigned to you, because somebody else has taken it: see "
            "`assignee`. To take it over, send the request again with `confirm: true`.",
            assignee={"id": str(user_id), "name": name},
        )

"""Errors of reminder rules."""

from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError, NotFoundError


class ReminderRuleNotFoundError(NotFoundError):
    """No reminder rule has this id."""

    code = "reminder_rule_not_found"
    title = "Reminder rule not found"

    def __init__(self) -> None:
        super().__init__(
            "There is no reminder rule with this id. GET /v1/reminder-rules lists the rules."
        )


class InvalidReminderError(InvalidError):
    """The message of a reminder rule has faults; ``errors`` lists them."""

    code = "invalid_reminder"
    title = "Reminder not accepted"
    pointer = "/body"
    example = Example(
        [
            FieldProblem(
                pointer="/body",
                code="unknown_variable",
                detail="line 1, column 4: the variable appointment.day does not exist.",
            )
        ]
    )

    def __init__(self, faults: list[FieldProblem]) -> None:
        super().__init__(
            f"The message has {len(faults)} fault(s). Correct all of them as `errors` describes.",
            errors=faults,
        )

"""Errors of tasks."""

from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError, NotFoundError


class TaskNotFoundError(NotFoundError):
    """No task has this id."""

    code = "task_not_found"
    title = "Task not found"
    detail = "There is no task with this id. GET /v1/tasks lists all tasks."


class UnknownAssigneeError(InvalidError):
    """The ``assignee_id`` of the request is not the id of an active user."""

    code = "unknown_assignee"
    title = "Unknown assignee"
    pointer = "/assignee_id"
    detail = "No active user has the id in `assignee_id`. GET /v1/users lists the users."

    def __init__(self, null_means: str | None = None) -> None:
        """Describe the refusal and the next step.

        Args:
            null_means: One sentence about the effect of null in the refused request.
        """
        super().__init__(None if null_means is None else f"{self.detail} {null_means}")


class TaskSubjectError(InvalidError):
    """The contact or the conversation of a task does not exist, or they do not belong together."""

    code = "invalid_task_subject"
    title = "Invalid subject of a task"
    example = Example(
        "The conversation belongs to another contact. Leave `contact_id` out; the task then "
        "belongs to the contact of the conversation.",
        pointer="/contact_id",
    )

    def __init__(self, detail: str, *, pointer: str) -> None:
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )

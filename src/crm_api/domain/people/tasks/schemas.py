"""Request and response models of tasks."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from crm_api.domain.kit.examples import CONTACT, NOW, example, example_id
from crm_api.domain.kit.fields import Name200, RequestInstant
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.people.models.tasks import Task, TaskStatus

TITLE = "Call back about the crack in the basement wall"


class TaskCreate(RequestModel):
    """A new task.

    Attributes:
        title: What must be done, on one line.
        due_at: The deadline: the task must be done before this instant.
        contact_id: The contact that the task is about. The default is the contact of the
            conversation.
        conversation_id: The conversation that the task is about; null if none.
        assignee_id: The id of the user who must do the task; null if no user is assigned.
    """

    model_config = example(
        title=TITLE,
        due_at="2026-12-01T15:00:00Z",
        conversation_id=example_id("conversation"),
        assignee_id=example_id("user"),
    )

    title: Name200
    due_at: RequestInstant
    contact_id: UUID | None = None
    conversation_id: UUID | None = None
    assignee_id: UUID | None = None


class TaskUpdate(RequestModel):
    """The fields of a task to change. A field that is left out keeps its value.

    Attributes:
        title: What must be done, on one line.
        due_at: The deadline: the task must be done before this instant.
        assignee_id: The id of the user who must do the task; null if none.
        done_at: When the task was done; null if not done. A future instant is stored as now.
    """

    model_config = example(done_at=NOW)

    title: Name200 = ""
    due_at: RequestInstant = datetime.max.replace(tzinfo=UTC)
    assignee_id: UUID | None = None
    done_at: RequestInstant | None = None


class TaskAssignee(ReadModel):
    """The user who must do a task.

    Attributes:
        name: The name of the user.
    """

    model_config = example(name="Olga Meyer")

    id: Id
    name: str


@dataclass(frozen=True, kw_only=True)
class FoundTask:
    """A task and the name of its assignee.

    Attributes:
        assignee_name: The name of the user who must do the task; None if no user is assigned.
        is_overdue: True if the task was due before now and is not done.
    """

    task: Task
    assignee_name: str | None
    is_overdue: bool


class TaskRead(ReadModel):
    """A task.

    Attributes:
        title: What must be done.
        due_at: The deadline: the task must be done before this instant.
        status: Whether the task is open or done.
        overdue: True if the task was due before now and is not done.
        contact_id: The id of the contact that the task is about; null if none.
        conversation_id: The id of the conversation that the task is about; null if none.
        assignee: The user who must do the task; null if no user is assigned.
        author: Who created the task: the name of an API key, or a user's e-mail address.
        done_at: When the task was done; null if it is not done.
    """

    model_config = example(
        title=TITLE,
        status="open",
        overdue=False,
        contact_id=CONTACT,
        author="olga@granite.example.com",
        done_at=None,
    )

    id: Id
    title: str
    due_at: Instant
    status: Annotated[str, Vocabulary(TaskStatus)]
    overdue: bool
    contact_id: Id | None
    conversation_id: Id | None
    assignee: TaskAssignee | None
    author: str
    done_at: Instant | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: FoundTask) -> Self:
        """Build the response from a task and the name of its assignee."""
        task = found.task
        assignee = None
        if task.assignee_id is not None:
            assignee = TaskAssignee(id=task.assignee_id, name=found.assignee_name or "")
        return cls(
            id=task.id,
            title=task.title,
            due_at=task.due_at,
            status=task.status,
            overdue=found.is_overdue,
            contact_id=task.contact_id,
            conversation_id=task.conversation_id,
            assignee=assignee,
            author=task.author,
            done_at=task.done_at,
            created_at=task.created_at,
            updated_at=task.updated_at,
        )

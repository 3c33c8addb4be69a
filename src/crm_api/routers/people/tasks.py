"""Routes of tasks. A task says what the office must do, and when it is due."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people.models.tasks import TaskStatus
from crm_api.domain.people.tasks import service as tasks
from crm_api.domain.people.tasks.schemas import TaskCreate, TaskRead, TaskUpdate
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import IN_STATUS, Caller, Uow, require
from crm_api.routers.http.list_responses import Listed
from crm_api.routers.http.query_parameters import QueryTime, QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/tasks", tags=["tasks"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


class Assigned(StrEnum):
    """The values of the filter `assignee` that are not the id of a user.

    Attributes:
        ME: The user who sent the request.
        NONE: No assignee.
    """

    ME = "me"
    NONE = "none"


DueBefore = Annotated[
    QueryTime | None,
    Query(
        description="Return only tasks that are due before this time. A date means midnight in "
        "`timezone`.",
        examples=["2026-12-01T00:00:00Z"],
    ),
]


@router.post(
    "",
    status_code=201,
    openapi_extra=fails_with("contact_not_found", "invalid_task_subject", "unknown_assignee"),
)
async def create_task(body: TaskCreate, uow: Uow, caller: Writer) -> TaskRead:
    """Create a task, often about a contact or in a conversation."""
    async with uow:
        task = await tasks.create_task(uow, body, author=caller.name, now=clock.now())
    return TaskRead.of(task)


@router.get("", response_model=PageRead[TaskRead], responses=csv_list_of(TaskRead))
async def list_tasks(
    listed: Listed,
    caller: Reader,
    *,
    status: Annotated[TaskStatus | None, IN_STATUS] = None,
    assignee: Annotated[
        Assigned | UUID | None,
        Query(
            description="`me`: your tasks; `none`: unassigned tasks; or the id of a user. No tasks "
            "are assigned to an API key."
        ),
    ] = None,
    overdue: Annotated[
        bool | None,
        Query(
            description="True: only overdue tasks; false: only tasks that are not overdue.",
            examples=[True],
        ),
    ] = None,
    due_before: DueBefore = None,
    zone: QueryZone,
    contact_id: Annotated[
        UUID | None, Query(description="Return only tasks about this contact.")
    ] = None,
    conversation_id: Annotated[
        UUID | None, Query(description="Return only tasks in this conversation.")
    ] = None,
) -> PageRead[TaskRead] | Response:
    """List tasks, those with the earliest due time first.

    With `status=done`, the most recently completed tasks come first. A CSV response contains all
    tasks that match.
    """
    wanted = tasks.TaskFilter(
        status=status,
        assignee=UUID(caller.id) if assignee == Assigned.ME else assignee,
        is_overdue=overdue,
        due_before=start_of(due_before, zone),
        contact_id=contact_id,
        conversation_id=conversation_id,
    )
    now = clock.now()

    async def read_page(uow: UnitOfWork, cursor: str | None, limit: int) -> PageRead[TaskRead]:
        found = await tasks.list_tasks(uow, wanted, cursor=cursor, limit=limit, now=now)
        return PageRead.of(found, TaskRead.of)

    return await listed.respond(TaskRead, read_page, name="tasks")


@router.get("/{task_id}")
async def get_task(task_id: UUID, uow: Uow, _caller: Reader) -> TaskRead:
    """Return one task."""
    async with uow:
        found = await tasks.read_task(uow, task_id=task_id, now=clock.now())
    return TaskRead.of(found)


@router.patch("/{task_id}", openapi_extra=fails_with("unknown_assignee"))
async def update_task(task_id: UUID, body: TaskUpdate, uow: Uow, _caller: Writer) -> TaskRead:
    """Change a task, assign it to a user, or mark it as done."""
    async with uow:
        found = await tasks.update_task(uow, body, task_id=task_id, now=clock.now())
    return TaskRead.of(found)


@router.delete("/{task_id}", status_code=204)
async def delete_task(task_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a task."""
    async with uow:
        await tasks.delete_task(uow, task_id=task_id)

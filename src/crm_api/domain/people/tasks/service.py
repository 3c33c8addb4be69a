"""Create, list, change and delete tasks."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.identity.users.models import User, UserStatus
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.models.tasks import Task, TaskStatus
from crm_api.domain.people.tasks.errors import (
    TaskNotFoundError,
    TaskSubjectError,
    UnknownAssigneeError,
)
from crm_api.domain.people.tasks.schemas import FoundTask, TaskCreate, TaskUpdate
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

NOBODY = "none"
"""Value of ``TaskFilter.assignee`` for tasks without an assignee."""


@dataclass(frozen=True, kw_only=True)
class TaskFilter:
    """The conditions for tasks in a list; a condition that is None does not filter.

    Attributes:
        assignee: Only tasks of the user with this id; ``NOBODY``: only tasks without an assignee.
        is_overdue: True: only tasks that are not done and were due before now. False: only tasks
            that are done, or that are not due yet.
        due_before: Only tasks that are due before this instant.
    """

    status: TaskStatus | None = None
    assignee: UUID | str | None = None
    is_overdue: bool | None = None
    due_before: datetime | None = None
    contact_id: UUID | None = None
    conversation_id: UUID | None = None


async def create_task(
    uow: UnitOfWork, body: TaskCreate, *, author: str, now: datetime
) -> FoundTask:
    """Create a task.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        TaskSubjectError: The conversation does not exist, or belongs to another contact.
        UnknownAssigneeError: The assignee is not an active user.
    """
    contact_id = await _find_contact(uow, body)
    if contact_id is not None:
        contact_id = (await contacts.lock_contact(uow, contact_id=contact_id)).id
    await check_assignee(uow, body.assignee_id, subject="task")
    values = {
        **body.model_dump(),
        "id": new_id(),
        "contact_id": contact_id,
        "author": author,
        "created_at": now,
        "updated_at": now,
    }
    task_id = await uow.session.scalar(insert(Task).values(values).returning(Task.id))
    return await read_task(uow, task_id=task_id or values["id"], now=now)


async def read_task(uow: UnitOfWork, *, task_id: UUID, now: datetime) -> FoundTask:
    """Return the task with this id.

    Raises:
        TaskNotFoundError: The task does not exist.
    """
    statement = _tasks().where(Task.id == task_id).execution_options(populate_existing=True)
    row = (await uow.session.execute(statement)).one_or_none()
    if row is None:
        raise TaskNotFoundError
    return _found(row.Task, row.name, now=now)


async def list_tasks(
    uow: UnitOfWork, wanted: TaskFilter, *, cursor: str | None, limit: int, now: datetime
) -> Page[FoundTask]:
    """Return a page of tasks. The task that is due first comes first.

    Exception: If only done tasks are wanted, the task that was done last comes first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("tasks", wanted=wanted)
    statement = tasks_statement(wanted, after=cursors.read(cursor), limit=limit + 1, now=now)
    rows = (await uow.session.execute(statement)).all()
    found = [_found(row.Task, row.name, now=now) for row in rows]
    return cursors.page(
        found,
        limit=limit,
        position=lambda one: (_place(one.task, wanted), one.task.id),
    )


def tasks_statement(
    wanted: TaskFilter, *, after: tuple[datetime, UUID] | None, limit: int, now: datetime
) -> Select[Task, str]:
    """Return the statement that reads one page of tasks."""
    statement = _tasks().where(*_conditions(wanted, now=now))
    if wanted.status is TaskStatus.DONE:
        if after is not None:
            statement = statement.where(tuple_(Task.done_at, Task.id) < after)
        return statement.order_by(Task.done_at.desc(), Task.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(Task.due_at, Task.id) > after)
    return statement.order_by(Task.due_at, Task.id).limit(limit)


@dataclass(frozen=True, kw_only=True)
class DueTasks:
    """Open tasks of a user, and open tasks without an assignee, due before an instant.

    Attributes:
        due: The number of these tasks.
        overdue: The number of these tasks that were due before now.
        first: The first of these tasks, by due time. The list has a maximum length.
    """

    due: int
    overdue: int
    first: list[FoundTask]


async def read_due_tasks(
    uow: UnitOfWork, *, user_id: UUID | None, until: datetime, most: int, now: datetime
) -> DueTasks:
    """Count the open tasks that are due before ``until``, and return the first ones.

    Args:
        user_id: Tasks of this user and tasks without an assignee are included. None: only tasks
            without an assignee.
        most: The largest number of tasks to return. It does not limit the counts.
    """
    wanted = TaskFilter(status=TaskStatus.OPEN, due_before=until)
    whose = due_for(user_id)
    rows = (await uow.session.execute(count_due_statement(wanted, whose, now=now))).one()
    first = tasks_statement(wanted, after=None, limit=most, now=now).where(whose)
    found = (await uow.session.execute(first)).all()
    return DueTasks(
        due=rows.due,
        overdue=rows.overdue,
        first=[_found(row.Task, row.name, now=now) for row in found],
    )


def due_for(user_id: UUID | None) -> ColumnElement[bool]:
    """Return the SQL condition for tasks that this user may have to do.

    These are the tasks that are assigned to the user or to nobody. If ``user_id`` is None, the
    condition selects only the tasks that are assigned to nobody.
    """
    of_nobody = Task.assignee_id.is_(None)
    return of_nobody if user_id is None else or_(of_nobody, Task.assignee_id == user_id)


def count_due_statement(
    wanted: TaskFilter, whose: ColumnElement[bool], *, now: datetime
) -> Select[int, int]:
    """Return the statement that counts tasks, and the overdue tasks among them.

    The columns are ``due`` (the number of tasks) and ``overdue``.

    Args:
        wanted: A filter that the tasks must match.
        whose: A further SQL condition for the tasks, about the assignee.
        now: The present instant.
    """
    is_overdue = and_(*_conditions(TaskFilter(is_overdue=True), now=now))
    return select(
        func.count().label("due"), func.count().filter(is_overdue).label("overdue")
    ).where(*_conditions(wanted, now=now), whose)


async def update_task(
    uow: UnitOfWork, changes: TaskUpdate, *, task_id: UUID, now: datetime
) -> FoundTask:
    """Change a task.

    Raises:
        TaskNotFoundError: The task does not exist.
        UnknownAssigneeError: The assignee is not an active user.
    """
    values = changes.model_dump(exclude_unset=True)
    if values.get("done_at") is not None:
        values["done_at"] = min(values["done_at"], now)
    await check_assignee(uow, values.get("assignee_id"), subject="task")
    if values:
        await uow.session.execute(
            update(Task).where(Task.id == task_id).values({**values, "updated_at": now})
        )
    return await read_task(uow, task_id=task_id, now=now)


async def delete_task(uow: UnitOfWork, *, task_id: UUID) -> None:
    """Delete a task.

    Raises:
        TaskNotFoundError: The task does not exist.
    """
    if await uow.session.scalar(delete(Task).where(Task.id == task_id).returning(Task.id)) is None:
        raise TaskNotFoundError


def _tasks() -> Select[Task, str]:
    return select(Task, User.name).outerjoin(User, User.id == Task.assignee_id)


def _found(task: Task, assignee_name: str | None, *, now: datetime) -> FoundTask:
    return FoundTask(
        task=task,
        assignee_name=assignee_name,
        is_overdue=task.status is TaskStatus.OPEN and task.due_at < now,
    )


def _place(task: Task, wanted: TaskFilter) -> datetime:
    if wanted.status is TaskStatus.DONE and task.done_at is not None:
        return task.done_at
    return task.due_at


def _conditions(wanted: TaskFilter, *, now: datetime) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.status is TaskStatus.OPEN:
        conditions.append(Task.done_at.is_(None))
    if wanted.status is TaskStatus.DONE:
        conditions.append(Task.done_at.is_not(None))
    if wanted.is_overdue is True:
        conditions += [Task.done_at.is_(None), Task.due_at < now]
    if wanted.is_overdue is False:
        conditions.append(Task.done_at.is_not(None) | (Task.due_at >= now))
    if isinstance(wanted.assignee, UUID):
        conditions.append(Task.assignee_id == wanted.assignee)
    if wanted.assignee == NOBODY:
        conditions.append(Task.assignee_id.is_(None))
    if wanted.due_before is not None:
        conditions.append(Task.due_at < wanted.due_before)
    if wanted.contact_id is not None:
        conditions.append(Task.contact_id == wanted.contact_id)
    if wanted.conversation_id is not None:
        conditions.append(Task.conversation_id == wanted.conversation_id)
    return conditions


async def _find_contact(uow: UnitOfWork, body: TaskCreate) -> UUID | None:
    """Return the contact that a new task is about; None if the task is about no contact."""
    if body.conversation_id is None:
        return body.contact_id
    conversation = await uow.session.get(Conversation, body.conversation_id)
    if conversation is None:
        raise TaskSubjectError(
            "No conversation has the id in `conversation_id`. GET /v1/conversations lists the "
            "conversations.",
            pointer="/conversation_id",
        )
    if body.contact_id not in {None, conversation.contact_id}:
        raise TaskSubjectError(
            "The conversation belongs to another contact. Leave `contact_id` out; the task then "
            "belongs to the contact of the conversation.",
            pointer="/contact_id",
        )
    return conversation.contact_id


async def check_assignee(uow: UnitOfWork, user_id: UUID | None, *, subject: str) -> None:
    """Check that the assignee is an active user, and lock the user's row against deletion.

    The lock lasts until the transaction ends. Without an assignee, nothing is checked.

    Args:
        subject: What is assigned, such as ``task``, for the text of the error.

    Raises:
        UnknownAssigneeError: The id is not the id of an active user.
    """
    if user_id is None:
        return
    statement = (
        select(User.id)
        .where(User.id == user_id, User.status == UserStatus.ACTIVE)
        .with_for_update(read=True, key_share=True)
    )
    if await uow.session.scalar(statement) is None:
        raise UnknownAssigneeError(f"Null assigns the {subject} to nobody.")

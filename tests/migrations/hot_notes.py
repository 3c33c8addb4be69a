"""Queries on notes, tasks and saved views."""

from tests.migrations.filling import NOON, made_id
from tests.migrations.hot import CONTACT, PLACE, Hot

from crm_api.domain.identity.preferences.service import saved_views_statement
from crm_api.domain.messaging.conversations.notes import notes_statement
from crm_api.domain.people.models.tasks import TaskStatus
from crm_api.domain.people.notes import service
from crm_api.domain.people.tasks.service import TaskFilter, tasks_statement

NOTES = [
    Hot(
        "notes on a person, newest first",
        {"idx_contact_note_contact"},
        lambda s: service.fetch_notes(s, contact_id=CONTACT, is_pinned=None, after=PLACE, limit=51),
        is_generic=True,
    ),
]


def _tasks(name: str, index: str, wanted: TaskFilter) -> Hot:
    statement = tasks_statement(wanted, after=PLACE, limit=51, now=NOON)
    return Hot(name, {index}, lambda s: s.execute(statement))


OF_USERS = [
    Hot(
        "notes of a conversation",
        {"idx_conversation_note_conversation"},
        lambda s: s.execute(
            notes_statement(conversation_id=made_id("talk", 7), after=PLACE, limit=51)
        ),
    ),
    Hot(
        "saved views of a user",
        {"uq_saved_view_user_id_list_name"},
        lambda s: s.execute(
            saved_views_statement(user_id=made_id("user", 7), viewed=None, after=PLACE, limit=51)
        ),
    ),
]

TASKS = [
    _tasks("all tasks", "idx_task_due", TaskFilter()),
    _tasks("open tasks", "idx_task_open", TaskFilter(status=TaskStatus.OPEN)),
    _tasks("done tasks", "idx_task_done", TaskFilter(status=TaskStatus.DONE)),
    _tasks("overdue tasks", "idx_task_open", TaskFilter(is_overdue=True)),
    _tasks("tasks of a user", "idx_task_assignee", TaskFilter(assignee=made_id("user", 7))),
    _tasks("tasks about a contact", "idx_task_contact", TaskFilter(contact_id=CONTACT)),
    _tasks(
        "tasks in a conversation",
        "idx_task_conversation",
        TaskFilter(conversation_id=made_id("talk", 7)),
    ),
]

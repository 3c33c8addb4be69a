"""Queries on notes, tasks, saved views and notices that must use an index."""

from datetime import timedelta

from sqlalchemy import select
from tests.migrations.filling import NOON, made_id
from tests.migrations.hot import CONTACT, PLACE, Hot, sql, use_case

from crm_api.domain.identity.preferences.service import list_saved_views
from crm_api.domain.kit.paging import Cursors, newest_first
from crm_api.domain.messaging.conversations.notes import list_notes
from crm_api.domain.outbound.notices import collecting, mailing, pushing
from crm_api.domain.outbound.web_push.service import PushSubscription, list_subscriptions
from crm_api.domain.people import notes
from crm_api.domain.people.models.contacts import ContactNote
from crm_api.domain.people.models.tasks import TaskStatus
from crm_api.domain.people.tasks.service import (
    TaskFilter,
    count_due_statement,
    due_for,
    tasks_statement,
)

NOTES = [
    Hot(
        "notes on a person, newest first",
        {"idx_contact_note_contact"},
        lambda s: s.execute(
            newest_first(
                notes.notes_statement(contact_id=CONTACT, is_pinned=None),
                ContactNote.created_at,
                ContactNote.id,
                after=PLACE,
                limit=51,
            )
        ),
        is_generic=True,
    ),
]


def _tasks(name: str, index: str, wanted: TaskFilter) -> Hot:
    statement = tasks_statement(wanted, after=PLACE, limit=51, now=NOON)
    return Hot(name, {index}, lambda s: s.execute(statement))


DUE = TaskFilter(status=TaskStatus.OPEN, due_before=NOON - timedelta(days=13))
OF_USERS = [
    Hot(
        "count of the due tasks of a user and of unassigned due tasks",
        {"idx_task_open"},
        lambda s: s.execute(count_due_statement(DUE, due_for(None), now=NOON)),
    ),
    Hot(
        "notes of a conversation",
        {"idx_conversation_note_conversation"},
        use_case(
            lambda uow: list_notes(
                uow,
                conversation_id=made_id("talk", 7),
                cursor=Cursors("conversation notes", conversation_id=made_id("talk", 7)).write(
                    *PLACE
                ),
                limit=50,
            )
        ),
    ),
    Hot(
        "saved views of a user",
        {"uq_saved_view_user_id_list_name"},
        use_case(
            lambda uow: list_saved_views(
                uow,
                user_id=made_id("user", 7),
                viewed=None,
                cursor=Cursors("saved views", user_id=made_id("user", 7)).write(*PLACE),
                limit=50,
            )
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

USER = made_id("user", 7)
WATCHING = {
    "user_ids": [USER],
    "emails": ["user7@firm.example.com"],
    "channels": ["push"],
    "minutes": [5],
    "since": NOON - timedelta(days=1),
    "now": NOON,
}
NOTICES = [
    Hot(
        "waiting conversations that a user has not read",
        {"idx_conversation_waiting", "pk_conversation_read|idx_conversation_read_conversation"},
        sql(collecting.COLLECT_REPLIES, **WATCHING),
    ),
    Hot(
        "notes that mention users, of the last day",
        {"idx_conversation_note_mentions"},
        sql(collecting.COLLECT_MENTIONS, **WATCHING),
    ),
    Hot(
        "tasks that became due within a day",
        {"idx_task_open|idx_task_due|idx_task_assignee"},
        sql(collecting.COLLECT_TASKS, **WATCHING),
    ),
    Hot(
        "notices of a user for a mail",
        {"uq_notice_subject"},
        sql(mailing.LOCK_NOTICES, user_id=USER, mailed_before=NOON, limit=50),
    ),
    Hot(
        "notices of a user for a push",
        {"uq_notice_subject"},
        sql(
            pushing.CLAIM_PUSH,
            user_id=USER,
            batch=made_id("any", 3),
            claimed_until=NOON,
            limit=50,
            now=NOON,
        ),
    ),
    Hot(
        "devices of a user for a push",
        {"idx_push_subscription_user"},
        sql(pushing.SUBSCRIPTIONS, user_id=USER),
    ),
    Hot(
        "devices of a user, newest first",
        {"idx_push_subscription_user"},
        use_case(
            lambda uow: list_subscriptions(
                uow,
                user_id=USER,
                cursor=Cursors("push subscriptions", user_id=USER).write(*PLACE),
                limit=50,
            )
        ),
    ),
    Hot(
        "a device that subscribes again",
        {"uq_push_subscription_endpoint"},
        lambda s: s.execute(
            select(PushSubscription.id).where(
                PushSubscription.endpoint == "https://push.example.com/7"
            )
        ),
    ),
]

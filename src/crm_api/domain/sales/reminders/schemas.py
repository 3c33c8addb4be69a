"""Request and response models of reminder rules and reminders."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StrictBool

from crm_api.domain.kit.examples import LINE, NOW, example
from crm_api.domain.kit.fields import Name200, Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.sales.appointments.models import AppointmentKind
from crm_api.domain.sales.reminders.models import MOST_HOURS, ReminderReason, ReminderStatus

BODY = (
    "Hi {{ first_name | default: 'there' }}, we will be with you on {{ appointment.date }} at "
    "{{ appointment.time }}. Reply to change it."
)
MessageBody = Annotated[str, Text(longest=1_600, shortest=1, has_lines=True)]
Hours = Annotated[int, Field(ge=1, le=MOST_HOURS)]
Kinds = Annotated[list[AppointmentKind], Field(min_length=1, max_length=3)]
_SHOWN = {
    "name": "The day before",
    "line_id": LINE,
    "body": BODY,
    "hours_before": 24,
    "kinds": ["assessment", "repair"],
}


class ReminderRuleCreate(RequestModel):
    """A new reminder rule.

    Attributes:
        name: The name of the rule.
        line_id: The phone line that sends the message.
        body: The message in Liquid, with the variables of campaign messages and `appointment.date`,
            `appointment.time`, `appointment.kind`, `appointment.location` and
            `appointment.assignee`.
        hours_before: How many hours before the appointment the message is sent.
        kinds: The kinds of appointments that get the message. The default is all kinds.
        is_active: Whether the rule sends reminders.
    """

    model_config = example(**_SHOWN)

    name: Name200
    line_id: UUID
    body: MessageBody
    hours_before: Hours
    kinds: Kinds = Field(default_factory=lambda: list(AppointmentKind))
    is_active: StrictBool = True


class ReminderRuleUpdate(RequestModel):
    """The fields of a reminder rule to change. A field that is left out keeps its value.

    Attributes:
        name: The name of the rule.
        line_id: The phone line that sends the message.
        body: The message in Liquid.
        hours_before: How many hours before the appointment the message is sent.
        kinds: The kinds of appointments that get the message.
        is_active: Whether the rule sends reminders.
    """

    model_config = example(is_active=False)

    name: Name200 = ""
    line_id: UUID = UUID(int=0)
    body: MessageBody = ""
    hours_before: Hours = 24
    kinds: Kinds = Field(default_factory=lambda: list(AppointmentKind))
    is_active: StrictBool = True


class ReminderRuleRead(ReadModel):
    """A reminder rule.

    Attributes:
        name: The name of the rule.
        line_id: The phone line that sends the message.
        body: The message in Liquid.
        hours_before: How many hours before the appointment the message is sent.
        kinds: The kinds of appointments that get the message.
        is_active: Whether the rule sends reminders.
        author: Who created the rule: the name of an API key, or the e-mail address of a user.
    """

    model_config = example(**_SHOWN, is_active=True, author="olga@granite.example.com")

    id: Id
    name: str
    line_id: Id
    body: str
    hours_before: int
    kinds: list[Annotated[str, Vocabulary(AppointmentKind)]]
    is_active: bool
    author: str
    created_at: Instant
    updated_at: Instant


class ReminderRead(ReadModel):
    """A reminder of an appointment.

    Attributes:
        rule_id: The rule that made the reminder.
        starts_at: The start that the appointment had when the reminder was made.
        status: What happened to the reminder.
        reason: Why the reminder waits or is not sent; null if its message is queued or sent.
        message_id: The message of the reminder; null if it has none.
        updated_at: When the status was decided.
    """

    model_config = example(starts_at=NOW, status="queued", reason=None)

    id: Id
    rule_id: Id
    starts_at: Instant
    status: Annotated[str, Vocabulary(ReminderStatus)]
    reason: Annotated[str, Vocabulary(ReminderReason)] | None
    message_id: Id | None
    updated_at: Instant


class RemindersRead(ReadModel):
    """The reminders of an appointment, the newest first.

    Attributes:
        data: At most 50 reminders.
    """

    data: list[ReminderRead]

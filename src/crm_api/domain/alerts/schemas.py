"""The API model of an alert."""

from typing import Annotated, Any

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.models import AlertStatus
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary


class AlertRead(ReadModel):
    """A problem that a user should see.

    Attributes:
        subject: The thing that has the problem: usually its id, for some kinds a name.
        context: Further values about the problem, such as ids; the keys depend on the kind.
        count: How often the problem has happened since ``first_seen_at``.
        first_seen_at: When the problem happened for the first time.
        last_seen_at: When the problem last happened.
        opened_at: When the alert was last opened. It opens again if the problem happens after the
            alert was resolved, or more than a day after it was acknowledged.
        acknowledged_at: When the alert was acknowledged; null if it was not.
        acknowledged_by: The name of the API key, or the e-mail address of the user, that
            acknowledged the alert; null if none did.
        resolved_at: When the problem ended; null while it exists.
    """

    model_config = example(
        kind="line_blocked",
        subject="+16175550100",
        detail=(
            "The provider refuses messages from this line. Top up the account, then "
            "unblock the line."
        ),
        context={"code": "402"},
        count=2,
    )

    id: Id
    kind: Annotated[str, Vocabulary(AlertKind)]
    subject: str
    detail: str
    context: dict[str, Any]
    status: AlertStatus
    count: int
    first_seen_at: Instant
    last_seen_at: Instant
    opened_at: Instant
    acknowledged_at: Instant | None
    acknowledged_by: str | None
    resolved_at: Instant | None

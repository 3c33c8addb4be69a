"""Alerts as the API shows them."""

from typing import Annotated, Any

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.alerts.models import AlertStatus
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary


class AlertRead(ReadModel):
    """A problem that a person should see.

    Attributes:
        subject: The id of the thing that it is about.
        context: Ids and figures that the alert refers to.
        count: How often it happened since ``first_seen_at``.
        first_seen_at: When it happened for the first time.
        last_seen_at: When it was last seen.
        opened_at: When it was last raised.
        acknowledged_at: When the alert was acknowledged; null until then.
        acknowledged_by: Who acknowledged the alert; null until then.
        resolved_at: When it was resolved; null until then.
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

"""Raise alerts for parked attempts.

An attempt to send a message is parked if only a user can find out whether the message was sent.
The alert explains why the result is unclear, and where the user can look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.platform.database import UnitOfWork, typed_rows

PARKED_ALERT = AlertKind.SEND_PARKED
NOT_LISTED = "not_listed"
SEVERAL_OR_OTHER = "several_or_other_text"
SAME_TEXT_BY_COLLEAGUE = "same_text_by_colleague"
WHY_PARKED = {
    NOT_LISTED: "OpenPhone's list does not show the message, but OpenPhone may have accepted it",
    SEVERAL_OR_OTHER: "OpenPhone's list shows several messages, or a message with another text, to "
    "the number at that time",
    SAME_TEXT_BY_COLLEAGUE: "a colleague sent the same text to the number at that time",
    "id_given_twice": "OpenPhone gave this message the id of another message",
    "match_corrected": "the OpenPhone message that was assigned to it belongs to another attempt",
}
"""Texts of alerts about parked attempts (unclear attempts that wait for a user). Each text says why
it is unclear whether the message was sent. The key is the error code of the attempt."""
UNKNOWN_REASON = "the data from OpenPhone does not show whether it accepted the message"


@dataclass(frozen=True, slots=True, kw_only=True)
class _ParkedAttempt:
    activity_id: UUID
    campaign_id: UUID | None
    line_id: UUID
    called_at: datetime
    error_code: str | None
    own_user_id: str | None


# The attempt with the latest request comes last, because the alert of a campaign mentions this
# attempt.
_PARKED = text("""
    SELECT a.activity_id, a.campaign_id, a.line_id, a.called_at, a.error_code, l.own_user_id
    FROM send_attempt a JOIN line l ON l.id = a.line_id
    WHERE a.id = ANY(CAST(:ids AS uuid[])) AND a.status = 'parked'
    ORDER BY a.called_at, a.id
""")


async def alert_parked(uow: UnitOfWork, ids: Sequence[UUID], *, now: datetime) -> None:
    """Raise alerts for the attempts in ``ids`` that are parked.

    An attempt is parked if a user must decide whether its message was sent. All parked attempts of
    a campaign share one alert. Each message outside campaigns has its own alert.
    """
    if not ids:
        return
    parked = await uow.session.execute(_PARKED, {"ids": list(ids)})
    for attempt in typed_rows(_ParkedAttempt, parked):
        await alerts.raise_alert(
            uow,
            kind=PARKED_ALERT,
            subject=str(attempt.campaign_id or attempt.activity_id),
            detail=_detail(attempt),
            context={
                "message_id": str(attempt.activity_id),
                "line_id": str(attempt.line_id),
                "reason": attempt.error_code,
            },
            now=now,
        )


def _detail(parked: _ParkedAttempt) -> str:
    message_id = str(parked.activity_id)
    since = f"{parked.called_at:%Y-%m-%d %H:%M} UTC"
    why = WHY_PARKED.get(parked.error_code or "", UNKNOWN_REASON)
    if parked.campaign_id is None:
        detail = (
            f"It is unclear whether the message {message_id} of {since} was sent: "
            f"{why}. Look in OpenPhone whether the conversation contains the message. Then report "
            f"the result with POST /v1/messages/{message_id}/settle."
        )
    else:
        detail = (
            "It is unclear whether messages of this campaign were sent. The last one is the "
            f"message {message_id} of {since}: {why}. List the recipients with "
            f"GET /v1/campaigns/{parked.campaign_id}/recipients?status=unknown. For each, look in "
            "OpenPhone whether the conversation contains the message. Then report the result with "
            f"POST /v1/campaigns/{parked.campaign_id}/recipients/{{contact_id}}/settle."
        )
    if parked.own_user_id is None:
        detail += (
            " It is not known yet which OpenPhone user sends the messages of this line. So "
            "messages that colleagues wrote cannot be distinguished from messages of this service."
        )
    return detail


STILL_PARKED = text("""
    SELECT x.id FROM unnest(CAST(:ids AS uuid[])) AS x (id)
    WHERE EXISTS (
        SELECT 1 FROM send_attempt a
        WHERE a.is_uncertain AND a.status = 'parked'
          AND x.id IN (coalesce(a.campaign_id, a.line_id), a.activity_id))
""")


async def find_still_parked(uow: UnitOfWork, *, ids: Sequence[UUID]) -> set[UUID]:
    """Return the ids of those campaigns, phone lines and messages that have a parked attempt.

    An attempt is parked if a user must decide whether its message was sent.

    Args:
        ids: The ids to check: of campaigns, phone lines and messages. For a phone line, only
            attempts outside campaigns count.
    """
    return set((await uow.session.execute(STILL_PARKED, {"ids": list(ids)})).scalars())

"""Learn from failed messages which numbers opted out at the provider or are invalid.

If the code of a failure says that the number is a landline, the line type is stored too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.consent.models import ConsentSource
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.models.number_failures import PERMANENT, FailureKind
from crm_api.platform.database import UnitOfWork, typed_rows

FAILURES_OF_INVALID = 2
"""After this many permanent failures, a number is marked invalid. A single permanent failure may be
an error of the carrier."""
REASON = "provider_stop_list"
"""The stored reason of an opt-out that became known from the provider's stop list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFailure:
    """A failed message that ``learn_from_next_number`` has not evaluated yet."""

    kind: str
    code: str
    line_id: UUID
    activity_id: UUID
    failed_at: datetime


# Only one worker evaluates failures at a time. Two workers could evaluate failures of the same
# number, and their transactions could deadlock.
TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('learn_from_failures', 0))")

NEXT_NUMBER = text("""
    SELECT f.phone FROM number_failure f WHERE f.learned_at IS NULL ORDER BY f.phone LIMIT 1
""")

NEW_FAILURES = text("""
    SELECT f.kind, f.code, f.line_id, f.activity_id, f.failed_at FROM number_failure f
    WHERE f.phone = :phone AND f.learned_at IS NULL
    ORDER BY f.failed_at, f.id
""")

# Stores that the number is a landline, because a message to the number failed. This failure is
# better evidence than a numbering plan or an earlier look-up. The row expires immediately, so that
# the next phone validation asks a look-up service again.
LEARN_LINE_TYPE = text("""
    INSERT INTO phone_lookup AS k (phone, line_type, carrier, source, checked_at, expires_at)
    VALUES (:phone, 'landline', NULL, 'provider_failure', :now, :now)
    ON CONFLICT (phone) DO UPDATE
    SET line_type = excluded.line_type, source = excluded.source, checked_at = excluded.checked_at,
        expires_at = excluded.expires_at
""")

MARK_LEARNED = text("""
    UPDATE number_failure SET learned_at = :now
    WHERE activity_id = ANY(CAST(:activity_ids AS uuid[]))
""")


async def learn_from_next_number(uow: UnitOfWork, *, now: datetime, secret: bytes) -> bool:
    """Process all new failed messages of one phone number.

    The error codes of the failures decide what happens:

    - If the person opted out at the provider, the number is opted out.
    - If the number is a landline, its line type is stored.
    - After ``FAILURES_OF_INVALID`` permanent failures, the number is marked as invalid.

    Each failure is processed only once.

    Args:
        secret: Key of the hash that identifies the number in the consent history.

    Returns:
        False if there are no new failures, or if another worker is processing failures.
    """
    session = uow.session
    if not await session.scalar(TRY_LOCK):
        return False
    phone: str | None = await session.scalar(NEXT_NUMBER)
    if phone is None:
        return False
    found = await session.execute(NEW_FAILURES, {"phone": phone})
    failures = typed_rows(NewFailure, found)
    stops = [failure for failure in failures if failure.kind == FailureKind.STOP]
    if stops:
        await _learn_stop(uow, phone, stops, now=now, secret=secret)
    if any(failure.kind == FailureKind.LANDLINE for failure in failures):
        await session.execute(LEARN_LINE_TYPE, {"phone": phone, "now": now})
    if any(failure.kind in PERMANENT for failure in failures):
        await _count_permanent_failures(uow, phone, now=now)
    learned = [failure.activity_id for failure in failures]
    await session.execute(MARK_LEARNED, {"activity_ids": learned, "now": now})
    return True


CONTACT_OF_NUMBER = text("""
    SELECT coalesce(c.merged_into, c.id) FROM contact c WHERE c.phone = :phone
""")

KEEP_PROVIDER_STOP = text("""
    INSERT INTO provider_stop AS s (id, phone, line_id, code, message_id, failures,
        first_failed_at, last_failed_at, created_at, updated_at)
    VALUES (uuid_v7(), :phone, :line_id, :code, :message_id, :failures, :first_failed_at,
        :failed_at, :now, :now)
    ON CONFLICT (phone) WHERE resolved_at IS NULL DO UPDATE
    SET failures = s.failures + excluded.failures, updated_at = excluded.updated_at,
        first_failed_at = least(s.first_failed_at, excluded.first_failed_at),
        last_failed_at = greatest(s.last_failed_at, excluded.last_failed_at),
        code = CASE WHEN excluded.last_failed_at >= s.last_failed_at
                    THEN excluded.code ELSE s.code END,
        line_id = CASE WHEN excluded.last_failed_at >= s.last_failed_at
                       THEN excluded.line_id ELSE s.line_id END,
        message_id = CASE WHEN excluded.last_failed_at >= s.last_failed_at
                          THEN excluded.message_id ELSE s.message_id END
""")


async def _learn_stop(
    uow: UnitOfWork, phone: str, stops: Sequence[NewFailure], *, now: datetime, secret: bytes
) -> None:
    """Opt the number out, with the last failed message as evidence; store the provider's refusal.

    The time of the opt-out is the time of the last failure, so an opt-in after the last failure
    overrides the opt-out.

    Args:
        stops: The failures that mean an opt-out, earliest first; at least one.
    """
    failure = stops[-1]
    await consent.opt_out(
        uow,
        phone=phone,
        contact_id=await uow.session.scalar(CONTACT_OF_NUMBER, {"phone": phone}),
        source=ConsentSource.PROVIDER,
        actor="provider",
        reason=REASON,
        evidence={"error_code": failure.code, "message_id": str(failure.activity_id)},
        activity_id=failure.activity_id,
        at=failure.failed_at,
        now=now,
        secret=secret,
    )
    await uow.session.execute(
        KEEP_PROVIDER_STOP,
        {
            "phone": phone,
            "line_id": failure.line_id,
            "code": failure.code,
            "message_id": failure.activity_id,
            "failures": len(stops),
            "first_failed_at": stops[0].failed_at,
            "failed_at": failure.failed_at,
            "now": now,
        },
    )


UNCOUNTED_FAILURES = text("""
    SELECT count(*) FROM number_failure f
    WHERE f.phone = :phone AND f.kind = ANY(CAST(:kinds AS text[])) AND f.counted_at IS NULL
""")

MARK_COUNTED = text("""
    UPDATE number_failure SET counted_at = :now
    WHERE phone = :phone AND kind = ANY(CAST(:kinds AS text[])) AND counted_at IS NULL
""")


async def _count_permanent_failures(uow: UnitOfWork, phone: str, *, now: datetime) -> None:
    """Mark a number invalid if it has ``FAILURES_OF_INVALID`` permanent failures.

    When a number is marked invalid, all its permanent failures get ``counted_at``, and later counts
    ignore these failures.
    """
    values = {"phone": phone, "kinds": [kind.value for kind in PERMANENT]}
    count = await uow.session.scalar(UNCOUNTED_FAILURES, values)
    if int(count or 0) < FAILURES_OF_INVALID:
        return
    await uow.session.execute(MARK_COUNTED, values | {"now": now})
    await consent.mark_invalid(uow, phone=phone, reason=f"{count} messages failed", now=now)
    contact_id = await uow.session.scalar(CONTACT_OF_NUMBER, {"phone": phone})
    await note_decision(
        uow,
        actor="worker",
        action="mark_number_invalid",
        subject=str(contact_id or ""),
        detail={"failures": int(count or 0)},
        now=now,
    )

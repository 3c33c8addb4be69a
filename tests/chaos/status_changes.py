"""Make the database store every status change, so that a test detects a status that moves back.

Triggers store each change in the transaction that makes the change. Only the database of the test
has these triggers. PostgreSQL's commit log has the instant at which the change became visible to
other transactions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

_TABLE = """
    CREATE TABLE chaos_step (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        subject text NOT NULL, row_id uuid NOT NULL, of_member uuid,
        was text, became text NOT NULL, is_corrected boolean NOT NULL
    )
"""
_ATTEMPTS = """
    CREATE FUNCTION chaos_note_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO chaos_step (subject, row_id, of_member, was, became, is_corrected)
        VALUES ('attempt', NEW.id, NEW.membership_id,
                CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status,
                NEW.error_code IS NOT DISTINCT FROM 'match_corrected');
        RETURN NULL;
    END $$
"""
_OTHERS = """
    CREATE FUNCTION chaos_note_status() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO chaos_step (subject, row_id, was, became, is_corrected)
        VALUES (TG_ARGV[0], NEW.id, OLD.status, NEW.status, false);
        RETURN NULL;
    END $$
"""
_ON_INSERT = """
    CREATE TRIGGER chaos_attempt_made AFTER INSERT ON send_attempt
    FOR EACH ROW EXECUTE FUNCTION chaos_note_attempt()
"""
_ON_UPDATE = """
    CREATE TRIGGER chaos_attempt_moved AFTER UPDATE ON send_attempt FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION chaos_note_attempt()
"""
_ON_MEMBER = """
    CREATE TRIGGER chaos_member_moved AFTER UPDATE ON campaign_membership FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION chaos_note_status('member')
"""
_ON_ACTIVITY = """
    CREATE TRIGGER chaos_activity_moved AFTER UPDATE ON activity FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status AND NEW.kind = 'message')
    EXECUTE FUNCTION chaos_note_status('message')
"""
_STEPS = text("""
    SELECT id, subject, row_id, of_member, was, became, is_corrected,
           pg_xact_commit_timestamp(xmin) AS at
    FROM chaos_step ORDER BY id
""")


class Subject(StrEnum):
    """The kind of row whose status changes."""

    ATTEMPT = "attempt"
    MEMBER = "member"
    MESSAGE = "message"


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """One change of status.

    Attributes:
        member: The recipient of the attempt; None if the row is not an attempt.
        was: The status before the change; None if the row was inserted.
        at: When the change was committed.
        is_corrected: True if a response of the provider proved that the attempt had been matched
            with the wrong message. Only such a change may move a status back.
    """

    subject: Subject
    row: UUID
    member: UUID | None
    was: str | None
    became: str
    at: datetime
    is_corrected: bool


async def record_status_changes(engine: AsyncEngine) -> None:
    """Make the database store all status changes from now on."""
    async with engine.begin() as connection:
        for statement in (
            _TABLE,
            _ATTEMPTS,
            _OTHERS,
            _ON_INSERT,
            _ON_UPDATE,
            _ON_MEMBER,
            _ON_ACTIVITY,
        ):
            await connection.execute(text(statement))


async def read_status_changes(engine: AsyncEngine) -> Sequence[StatusChange]:
    """Return all stored status changes in the order in which they were made."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_STEPS)).all()
    return [
        StatusChange(
            subject=Subject(row.subject),
            row=row.row_id,
            member=row.of_member,
            was=row.was,
            became=row.became,
            at=row.at,
            is_corrected=row.is_corrected,
        )
        for row in rows
    ]

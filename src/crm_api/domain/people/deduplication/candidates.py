"""Find pairs of contacts that may be one person, list them, and dismiss them."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import TextClause, delete, exists, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.deduplication.errors import CandidateNotFoundError
from crm_api.domain.people.deduplication.schemas import CandidateRead
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.deduplication import DuplicateScan, MergeCandidate
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

NUMBER_DIGITS = 10
"""The number of digits of a US or Canadian phone number without the country code."""

_MOST_OF_A_KEY = 20
"""The largest number of contacts with the same key that are compared with each other.

A key is a value that two contacts may have in common, such as an e-mail address. Further contacts
with the key are left out. If so many contacts have the same value, it is probably the value of an
office, or a placeholder.
"""

_SIMILAR = 0.5
"""The smallest trigram similarity (from 0 to 1) of two names that are considered similar.

The similarity of ``Jon Smith`` and ``John Smith`` is 0.6. The similarity of the names of a couple
is about 0.4.
"""

_COMPARED = f"""
    WITH keyed AS (
        SELECT p.id, p.name, {{key}} AS key FROM person p WHERE {{has_key}}
    ), shared AS (
        SELECT key FROM keyed GROUP BY key HAVING count(*) > 1
    ), few AS (
        SELECT * FROM (
            SELECT k.id, k.name, k.key,
                   row_number() OVER (PARTITION BY k.key ORDER BY k.id) AS place
            FROM shared JOIN keyed k ON k.key = shared.key
        ) ranked WHERE place <= {_MOST_OF_A_KEY}
    )
    INSERT INTO pair (kind, first_id, second_id, points)
    SELECT '{{kind}}', a.id, b.id, {{base}} + round({{more}} * similarity(a.name, b.name))
    FROM few a JOIN few b ON b.key = a.key AND a.id < b.id
    WHERE similarity(a.name, b.name) >= {_SIMILAR}
"""


def close_number(place: int) -> TextClause:
    """Return the statement that finds pairs of contacts with similar names and similar numbers.

    The phone numbers of a pair differ in one digit.

    Args:
        place: The position of this digit, counted from the end of the number; 0 is the last digit.
    """
    masked = f"overlay(p.phone PLACING '_' FROM length(p.phone) - {place} FOR 1)"
    return text(
        _COMPARED.format(
            key=f"hashtextextended({masked} || p.block, 0)",
            has_key="p.name IS NOT NULL",
            kind="phone",
            base=30,
            more=45,
        )
    )


Position = tuple[int, UUID]
"""The score and id of the last pair of the previous page. The page begins after this pair."""

_SCAN = 1

_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('find_duplicates', 0))")

PREPARE = (
    text("SET LOCAL work_mem = '64MB'"),
    text("""
        CREATE TEMPORARY TABLE person ON COMMIT DROP AS
        SELECT c.id, c.created_at, c.phone, n.name,
               lower(left(coalesce(c.last_name, ''), 2) || left(coalesce(c.first_name, ''), 1))
                   AS block,
               lower(c.email) AS email,
               CASE WHEN c.street IS NOT NULL
                    THEN hashtextextended(
                        substring(lower(c.street) FROM '^\\s*\\d+\\w*\\s+\\w{1,3}') || '|'
                        || coalesce(left(c.postal_code, 5), lower(c.city), ''), 0) END AS address
        FROM contact c
        CROSS JOIN LATERAL (
            SELECT nullif(lower(concat_ws(' ', c.first_name, c.last_name)), '') AS name
        ) n
        WHERE c.deleted_at IS NULL
    """),
    text("""
        CREATE TEMPORARY TABLE pair (
            kind text, first_id uuid, second_id uuid, points integer
        ) ON COMMIT DROP
    """),
    text("ANALYZE person"),
)

# Of all contacts with the same e-mail address, only the oldest is paired with each of the others.
# If all contacts were paired with each other, the number of pairs would grow with the square of the
# number of contacts.
SAME_EMAIL = text(f"""
    INSERT INTO pair (kind, first_id, second_id, points)
    SELECT 'email', least(x.head, x.id), greatest(x.head, x.id),
           60 + round(35 * coalesce(similarity(x.name, x.head_name), 0.5))
    FROM (
        SELECT p.id, p.name, row_number() OVER w AS place, first_value(p.id) OVER w AS head,
               first_value(p.name) OVER w AS head_name
        FROM (SELECT email FROM person WHERE email IS NOT NULL GROUP BY email
              HAVING count(*) > 1) shared
        JOIN person p ON p.email = shared.email
        WINDOW w AS (PARTITION BY p.email ORDER BY p.created_at, p.id)
    ) x
    WHERE x.place BETWEEN 2 AND {_MOST_OF_A_KEY}
""")

SIMILAR_ADDRESS = text(
    _COMPARED.format(
        key="p.address",
        has_key="p.address IS NOT NULL AND p.name IS NOT NULL",
        kind="address",
        base=40,
        more=45,
    )
)

CLOSE_NUMBER = tuple(close_number(place) for place in range(NUMBER_DIGITS))

# The points of the reasons are percentages. The score combines them in the same way as the
# probabilities of independent events: 80 and 60 points give a score of 92.
STORE = (
    text("""
        CREATE TEMPORARY TABLE found ON COMMIT DROP AS
        SELECT first_id, second_id,
               CAST(max(points) FILTER (WHERE kind = 'email') AS smallint) AS email,
               CAST(max(points) FILTER (WHERE kind = 'address') AS smallint) AS address,
               CAST(max(points) FILTER (WHERE kind = 'phone') AS smallint) AS phone
        FROM pair GROUP BY first_id, second_id
    """),
    text("ANALYZE found"),
    text("""
        DELETE FROM merge_candidate c
        WHERE c.dismissed_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM found f
            WHERE f.first_id = c.first_id AND f.second_id = c.second_id)
    """),
    text("""
        INSERT INTO merge_candidate AS c
            (id, first_id, second_id, email, address, phone, found_at)
        SELECT uuid_v7(), first_id, second_id, email, address, phone, :now FROM found
        ON CONFLICT (first_id, second_id) DO UPDATE
        SET email = excluded.email, address = excluded.address, phone = excluded.phone
        WHERE (c.email, c.address, c.phone)
              IS DISTINCT FROM (excluded.email, excluded.address, excluded.phone)
    """),
)

DROP = text("DROP TABLE IF EXISTS person, pair, found")


REST = 20
"""The pause after a scan, as a multiple of the duration of the scan.

With 20, scans take at most 5% of the time.
"""
UNSEEN = timedelta(minutes=1)
"""How long before the start of the last scan a changed contact still causes a new scan.

A contact may change before a scan starts and be committed after the scan started. The scan does not
see this change.
"""


async def list_candidates(
    uow: UnitOfWork,
    *,
    contact_id: UUID | None,
    min_score: int,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[CandidateRead]:
    """List pairs of contacts that may be one person and were not dismissed, highest score first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("merge_candidates", contact_id=contact_id, min_score=min_score)
    after = cursors.read_text(cursor)
    rows = await fetch_candidates(
        uow.session,
        contact_id=contact_id,
        min_score=min_score,
        after=None if after is None else (int(after[0]), after[1]),
        limit=limit + 1,
    )
    page = cursors.page(rows, limit=limit, position=lambda row: (str(row.score), row.id))
    shown = page.data
    wanted = {one for row in shown for one in (row.first_id, row.second_id)}
    found = await contacts.get_contacts(uow, contact_ids=sorted(wanted), now=now)
    people = {one.contact.id: one for one in found}
    data = [
        CandidateRead.of(row, people[row.first_id], people[row.second_id])
        for row in shown
        if {row.first_id, row.second_id} <= people.keys()
    ]
    return Page(data, page.next_cursor)


async def dismiss(uow: UnitOfWork, *, candidate_id: UUID, actor: str, now: datetime) -> None:
    """Record that the contacts of a pair are two persons, so that the pair is not listed again.

    A pair that is already dismissed does not change.

    Raises:
        CandidateNotFoundError: No pair has this id, or the pair is no longer a candidate.
    """
    pair = MergeCandidate
    statement = (
        update(pair)
        .where(pair.id == candidate_id)
        .values(
            dismissed_at=func.coalesce(pair.dismissed_at, now),
            dismissed_by=func.coalesce(pair.dismissed_by, actor),
        )
    )
    if await uow.session.scalar(statement.returning(pair.id)) is None:
        raise CandidateNotFoundError


async def find_candidates(uow: UnitOfWork, *, now: datetime, clock: Callable[[], datetime]) -> bool:
    """Scan all contacts for pairs that may be the same person.

    Do nothing in these cases:

    - Another worker scans now.
    - The pause after the last scan (``REST``) is not over.
    - No contact has changed since one minute before the last scan began.

    Args:
        clock: Returns the current time. It is called when the scan ends.

    Returns:
        True if a scan was made.
    """
    session = uow.session
    if not await session.scalar(_LOCK):
        return False
    last = await session.get(DuplicateScan, _SCAN, populate_existing=True)
    if last is not None:
        rests_until = last.finished_at + REST * (last.finished_at - last.started_at)
        if now < rests_until:
            return False
        # This query ends at the first changed contact that it finds. If no contact has changed, it
        # reads all contacts. No index helps, because the index on `updated_at` does not contain
        # deleted contacts, and the query includes them.
        changed = exists().where(Contact.updated_at > last.started_at - UNSEEN)
        if not await session.scalar(select(changed)):
            return False
    await find_pairs(session, now=now)
    times = {"started_at": now, "finished_at": clock()}
    stored = insert(DuplicateScan).values(id=_SCAN, **times)
    await session.execute(stored.on_conflict_do_update(index_elements=["id"], set_=times))
    return True


async def fetch_candidates(
    session: AsyncSession,
    *,
    contact_id: UUID | None,
    min_score: int,
    after: Position | None,
    limit: int,
) -> list[MergeCandidate]:
    """Fetch up to ``limit`` pairs of contacts that may be duplicates, the highest score first.

    Pairs that a user dismissed and pairs with a deleted contact are left out.

    Args:
        contact_id: Only pairs with this contact.
        after: Only pairs after this position; None for the first page.
    """
    pair, first, second = MergeCandidate, aliased(Contact), aliased(Contact)
    statement = (
        select(pair)
        .join(first, first.id == pair.first_id)
        .join(second, second.id == pair.second_id)
        .where(
            pair.dismissed_at.is_(None),
            first.deleted_at.is_(None),
            second.deleted_at.is_(None),
            pair.score >= min_score,
        )
    )
    if contact_id is not None:
        statement = statement.where(or_(pair.first_id == contact_id, pair.second_id == contact_id))
    if after is not None:
        statement = statement.where(tuple_(pair.score, pair.id) < after)
    statement = statement.order_by(pair.score.desc(), pair.id.desc()).limit(limit)
    return list(await session.scalars(statement))


async def dismiss_pairs(
    session: AsyncSession, *, one: UUID, others: Collection[UUID], actor: str, now: datetime
) -> None:
    """Record that the contact ``one`` is not the same person as any of the contacts ``others``.

    Each of these pairs is marked as dismissed. Pairs that are not stored yet are added.
    """
    values = [
        {
            "id": new_id(),
            "first_id": min(one, other),
            "second_id": max(one, other),
            "found_at": now,
            "dismissed_at": now,
            "dismissed_by": actor,
        }
        for other in others
    ]
    statement = insert(MergeCandidate).values(values)
    excluded = statement.excluded
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["first_id", "second_id"],
            set_={"dismissed_at": excluded.dismissed_at, "dismissed_by": excluded.dismissed_by},
        )
    )


async def forget_candidates(session: AsyncSession, *, contact_ids: Collection[UUID]) -> None:
    """Delete the stored pairs of possible duplicates that contain one of these contacts.

    The caller has merged these contacts.
    """
    pair = MergeCandidate
    await session.execute(
        delete(pair).where(or_(pair.first_id.in_(contact_ids), pair.second_id.in_(contact_ids)))
    )


async def find_pairs(session: AsyncSession, *, now: datetime) -> None:
    """Find all pairs of contacts that may be the same person, and store them.

    A pair that a user has dismissed stays dismissed.
    """
    statements = (*PREPARE, SAME_EMAIL, SIMILAR_ADDRESS, *CLOSE_NUMBER)
    for statement in statements:
        await session.execute(statement)
    for statement in STORE:
        await session.execute(statement, {"now": now})
    await session.execute(DROP)

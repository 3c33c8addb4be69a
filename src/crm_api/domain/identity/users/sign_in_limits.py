"""Slow down the guessing of passwords, without locking out the owner of the account.

An attempt is a sign-in or a password change. A network address is *known* for an account for 90
days after the user signed in, or used a mailed link, from this address. Three counters count the
failed attempts of:

1. this account at this address,
2. this account at all addresses that are not known for this account,
3. all accounts at this address, except accounts for which the address is known.

Each counter has an allowed number of failed attempts. After each failure above this number, the
next attempt must wait. At a known address, only the first counter is used. So two kinds of failed
attempts cannot lock out the owner at a known address: attempts at other addresses, and attempts for
other accounts at the same address.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.identity.users.errors import TooManySignInsError
from crm_api.domain.identity.users.models import SignInAddress, SignInThrottle, User
from crm_api.domain.kit.backoff import Backoff
from crm_api.platform.database import UnitOfWork
from crm_api.platform.request_context import network_of

PAIR_FAILURES, ACCOUNT_FAILURES, ADDRESS_FAILURES = 5, 20, 50
"""The number of failed attempts that cause no wait, for each of the three counters of failed
attempts. An hour without a failed attempt resets a counter."""
WAITS = Backoff(first=timedelta(seconds=30), longest=timedelta(minutes=15))
"""The waits after failed attempts above the allowed number. The first such attempt causes a wait of
30 seconds, and each further failed attempt doubles the wait, up to 15 minutes."""
KNOWN_FOR = timedelta(days=90)
"""How long a network address stays known for an account after the last sign-in from this
address."""

# An attempt to sign in is counted as failed before its password is verified. So a thousand
# simultaneous attempts are counted a thousand times. If the password is right, the attempt is
# removed from the counter. A counter that does not block attempts has a `blocked_until` far in the
# past. So simultaneous attempts may be stored in any order, and none of them is refused.
_COUNT_TRY = text(f"""
    INSERT INTO sign_in_throttle AS t (subject, allowance, failures, last_failed_at, blocked_until)
    SELECT s.subject, s.allowance, 1, CAST(:now AS timestamptz), to_timestamp(0)
    FROM unnest(CAST(:subjects AS bytea[]), CAST(:allowances AS integer[]))
        AS s (subject, allowance)
    ORDER BY s.subject
    ON CONFLICT (subject) DO UPDATE SET
        failures = CASE WHEN t.last_failed_at < excluded.last_failed_at - interval '1 hour'
                        THEN 1 ELSE t.failures + 1 END,
        blocked_until = CASE
            WHEN t.last_failed_at < excluded.last_failed_at - interval '1 hour'
              OR t.failures < t.allowance THEN to_timestamp(0)
            ELSE excluded.last_failed_at + {WAITS.sql("t.failures - t.allowance + 1")}
            END,
        last_failed_at = greatest(t.last_failed_at, excluded.last_failed_at)
    WHERE t.blocked_until <= excluded.last_failed_at
    RETURNING t.subject
""")
# The statement locks rows in the same order as _COUNT_TRY, so that simultaneous sign-ins cannot
# deadlock.
_UNCOUNT = text("""
    WITH locked AS MATERIALIZED (
        SELECT subject FROM sign_in_throttle WHERE subject = ANY(CAST(:subjects AS bytea[]))
        ORDER BY subject FOR UPDATE
    ), forgotten AS (
        DELETE FROM sign_in_throttle t USING locked l
        WHERE t.subject = l.subject AND t.subject IS DISTINCT FROM CAST(:shared AS bytea)
    )
    UPDATE sign_in_throttle t SET failures = t.failures - 1, blocked_until = to_timestamp(0)
    FROM locked l WHERE t.subject = l.subject AND t.subject = CAST(:shared AS bytea)
""")


@dataclass(frozen=True, kw_only=True)
class CountedAttempt:
    """A sign-in or a change of a password that was counted as a failed attempt.

    The module's docstring describes the three counters.

    Attributes:
        user: The user whose password must be verified; None if no active user has the e-mail
            address.
        network: The network address of the client; for IPv6, the /64 network.
        own: The keys of the counters of this account: the first counter and, if the address is not
            known, the second counter.
        shared: The key of the third counter; None if the address is known for the account.
    """

    user: User | None
    network: str
    own: tuple[bytes, ...]
    shared: bytes | None

    @property
    def subjects(self) -> list[tuple[bytes, int]]:
        """The counters that count this attempt to sign in or to change a password.

        Each item has the key of a counter, and the number of failed attempts that the counter
        allows. After each failure above this number, the next attempt must wait.
        """
        allowances = (PAIR_FAILURES, ACCOUNT_FAILURES)
        own = list(zip(self.own, allowances, strict=False))
        return own if self.shared is None else [*own, (self.shared, ADDRESS_FAILURES)]


async def count_attempt(
    uow: UnitOfWork, user: User | None, *, email: str, address: str, now: datetime
) -> CountedAttempt:
    """Count an attempt to sign in or to change the password as failed.

    If the password is right, the caller removes the count with ``uncount_attempt``.

    Args:
        uow: The caller must commit it before the password is verified.
        user: The active user with this e-mail address; None if there is none.

    Raises:
        TooManySignInsError: Too many attempts failed for this account or from this address.
    """
    counted = await _counters(uow.session, user, email=email, network=network_of(address))
    subjects = counted.subjects
    values = {
        "subjects": [subject for subject, _ in subjects],
        "allowances": [allowed for _, allowed in subjects],
        "now": now,
    }
    passed = (await uow.session.execute(_COUNT_TRY, values)).all()
    if len(passed) < len(subjects):
        until = await _blocked_until(uow.session, [subject for subject, _ in subjects]) or now
        seconds = max(1, int((until - now).total_seconds()) + 1)
        raise TooManySignInsError(
            f"Too many sign-ins with a wrong password. Try again in {seconds} seconds, or reset "
            "the password.",
            retry_after_seconds=seconds,
        )
    return counted


async def uncount_attempt(uow: UnitOfWork, counted: CountedAttempt) -> None:
    """Remove the count of an attempt whose password was right.

    The counters ``counted.own`` are deleted. The counter ``counted.shared`` is reduced by one. It
    then blocks no attempt until the next failure.
    """
    subjects = [subject for subject, _ in counted.subjects]
    await uow.session.execute(_UNCOUNT, {"subjects": subjects, "shared": counted.shared})


async def remember_address(uow: UnitOfWork, user: User, *, address: str, now: datetime) -> None:
    """Store that a user has signed in, or used a mailed link, from this network address."""
    statement = insert(SignInAddress).values(
        user_id=user.id, address=_digest("home", network_of(address)), last_used_at=now
    )
    await uow.session.execute(
        statement.on_conflict_do_update(
            index_elements=["user_id", "address"],
            set_={"last_used_at": statement.excluded.last_used_at},
        )
    )


async def delete_old_counts(uow: UnitOfWork, *, failed_before: datetime, now: datetime) -> None:
    """Delete old counters of failed sign-ins, and old known addresses of users.

    A counter is old if its last failure was before ``failed_before``.

    A known address is a network address from which a user has signed in. It is old if the user has
    not used it for 90 days.
    """
    await uow.session.execute(
        delete(SignInThrottle).where(SignInThrottle.last_failed_at < failed_before)
    )
    await uow.session.execute(
        delete(SignInAddress).where(SignInAddress.last_used_at < now - KNOWN_FOR)
    )


async def _counters(
    session: AsyncSession, user: User | None, *, email: str, network: str
) -> CountedAttempt:
    # The hash of the current password is part of the keys of the account's counters. So after a
    # change of the password, these counters begin at zero.
    account = (email.casefold(), (user.password_hash or "") if user else "")
    pair = _digest("pair", *account, network)
    if user is not None and await _is_known(session, user, network):
        return CountedAttempt(user=user, network=network, own=(pair,), shared=None)
    own = (pair, _digest("account", *account))
    return CountedAttempt(user=user, network=network, own=own, shared=_digest("address", network))


async def _is_known(session: AsyncSession, user: User, network: str) -> bool:
    found = await session.scalar(
        select(
            exists().where(
                SignInAddress.user_id == user.id,
                SignInAddress.address == _digest("home", network),
            )
        )
    )
    return bool(found)


async def _blocked_until(session: AsyncSession, subjects: Sequence[bytes]) -> datetime | None:
    """Return the time until which the counters in ``subjects`` block a further attempt.

    Each counter of failed sign-ins blocks attempts until a certain time. The latest of these times
    is returned. The result is None if none of the counters is stored.
    """
    return await session.scalar(
        select(func.max(SignInThrottle.blocked_until)).where(SignInThrottle.subject.in_(subjects))
    )


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()

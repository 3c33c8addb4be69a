"""Find the provider's messages that may belong to an attempt with an unclear result."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.sends.parked_alerts import SAME_TEXT_BY_COLLEAGUE, SEVERAL_OR_OTHER
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.facts import MessageFacts
from crm_api.platform.database import UnitOfWork, typed_rows

_QUOTES = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u201b": "'",
        "\u2032": "'",
        "`": "'",
        "\u00b4": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u2033": '"',
        "\u00ab": '"',
        "\u00bb": '"',
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "-",
        "\u2013": "-",
        "\u2014": "-",
        "\u2212": "-",
    }
)
_SPACES = re.compile(r"\s+")


def fold_text(body: str) -> str:
    """Return a body with normalised Unicode forms, quotes, dashes and spaces.

    The provider's "smart encoding" may change these characters.
    """
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", body).translate(_QUOTES)).strip()


def is_same_text(one: str, other: str) -> bool:
    """Return True if two bodies are equal, except for characters that the provider may change."""
    return one == other or fold_text(one) == fold_text(other)


def is_of_another_user(user_id: str | None, *, own_user_id: str | None) -> bool:
    """Return True if a message was not sent by this service, but by another user at the provider.

    The result is False if one of the provider's ids is None (unknown).

    Args:
        own_user_id: The user in whose name this service sends over the line.
    """
    return user_id is not None and own_user_id is not None and user_id != own_user_id


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownAttempt:
    """An attempt with the status ``unknown``, with the settings of its line.

    Attributes:
        called_at: When the attempt passed the gate.
        nil_at: The start of the first look-up that did not find the message; None if there was
            none.
        has_no_id: True if the provider accepted the message without a usable id. It is not sent
            again.
        phone_number_id: The provider's id of the line.
        resend_unclear: True: a message that the provider's list lacks is sent again. False: a user
            decides.
    """

    id: UUID
    phone: str
    body: str
    called_at: datetime
    nil_at: datetime | None
    has_no_id: bool
    membership_id: UUID | None
    campaign_id: UUID | None
    line_id: UUID
    activity_id: UUID
    phone_number_id: str
    resend_unclear: bool


# The attempts whose last look-up was longest ago come first. So attempts that stay unclear do not
# delay the look-ups of other attempts.
UNKNOWN_ATTEMPTS = text("""
    SELECT a.id, a.phone, a.body, a.called_at, a.nil_at, a.has_no_id, a.membership_id,
           a.campaign_id, a.line_id, a.activity_id, l.phone_number_id, l.resend_unclear
    FROM send_attempt a JOIN line l ON l.id = a.line_id
    WHERE a.is_open AND a.status = 'unknown'
    ORDER BY a.updated_at, a.id LIMIT :limit
""")


async def list_unknown_attempts(uow: UnitOfWork, *, limit: int) -> list[UnknownAttempt]:
    """Return up to ``limit`` attempts with the status ``unknown``.

    The attempt whose last look-up at the provider is the longest ago comes first.
    """
    return typed_rows(UnknownAttempt, await uow.session.execute(UNKNOWN_ATTEMPTS, {"limit": limit}))


@dataclass(frozen=True, kw_only=True)
class MatchCandidates:
    """The provider's messages that may be the message of an attempt with an unclear result.

    "Our own user" is the provider's user in whose name this service sends.

    Attributes:
        ours: All messages of our own user, with any text, and those messages of other users that
            have the attempt's text.
        same: Messages of our own user with the attempt's text. Only these may be matched.
        own_user_id: None if unknown. If this id or a message's user is unknown, the message counts
            as a message of our own user.
    """

    ours: Sequence[MessageFacts]
    same: Sequence[MessageFacts]
    own_user_id: str | None

    @property
    def why(self) -> str:
        """The error code that says why a user must decide about the attempt.

        - ``SAME_TEXT_BY_COLLEAGUE``: Other users of the provider's workspace sent all candidates.
        - ``SEVERAL_OR_OTHER``: All other cases, for example several messages in ``same``.
        """
        is_colleague = not self.same and all(
            is_of_another_user(facts.user_id, own_user_id=self.own_user_id) for facts in self.ours
        )
        return SAME_TEXT_BY_COLLEAGUE if is_colleague else SEVERAL_OR_OTHER


OWN_USER = text("SELECT l.own_user_id FROM line l WHERE l.id = :line_id")


async def find_candidates(
    uow: UnitOfWork,
    unknown: UnknownAttempt,
    listed: Sequence[MessageFacts],
    *,
    times: SendTimes,
) -> MatchCandidates:
    """Find the messages at the provider that may belong to an attempt with an unclear result.

    See ``ARCHITECTURE.md``, "Sending, rule 8". A message of another user with the attempt's text is
    included, but never matched. The recipient already has the text, so a user must decide.

    Args:
        listed: The messages in the provider's list that have the attempt's phone number.
    """
    found = await _in_window(uow, unknown, listed, times=times)
    own_user_id = await uow.session.scalar(OWN_USER, {"line_id": unknown.line_id})
    ours: list[MessageFacts] = []
    same: list[MessageFacts] = []
    for facts in found.values():
        is_same = is_same_text(unknown.body, facts.text)
        is_other = is_of_another_user(facts.user_id, own_user_id=own_user_id)
        if is_same or not is_other:
            ours.append(facts)
        if is_same and not is_other:
            same.append(facts)
    return MatchCandidates(ours=ours, same=same, own_user_id=own_user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredMessage:
    openphone_id: str
    body: str | None
    status: str
    error_code: str | None
    occurred_at: datetime
    updated_at: datetime
    user_id: str | None

    def facts(self, unknown: UnknownAttempt) -> MessageFacts:
        """Return this message as ``MessageFacts``, the form of messages in the provider's list.

        Args:
            unknown: The unclear attempt, for the phone number and the line.
        """
        return MessageFacts(
            provider_message_id=self.openphone_id,
            direction="outgoing",
            text=self.body or "",
            status=self.status,
            from_number=None,
            to_numbers=(unknown.phone,),
            phone_number_id=unknown.phone_number_id,
            conversation_id=None,
            user_id=self.user_id,
            media=(),
            error_code=self.error_code,
            created_at=self.occurred_at,
            updated_at=self.updated_at,
        )


STORED_CANDIDATES = text("""
    SELECT t.openphone_id, t.body, t.status, t.error_code, t.occurred_at, t.updated_at, t.user_id
    FROM activity t
    WHERE t.kind = 'message' AND t.direction = 'outgoing' AND t.origin = 'provider'
      AND t.phone = :phone AND t.line_id = :line_id
      AND t.occurred_at >= CAST(:called_at AS timestamptz) - make_interval(secs => :skew)
      AND t.occurred_at <= CAST(:called_at AS timestamptz) + make_interval(secs => :grace)
""")

HELD_IDS = text("""
    SELECT a.provider_message_id FROM send_attempt a
    WHERE a.provider_message_id = ANY(CAST(:message_ids AS text[]))
""")


async def _in_window(
    uow: UnitOfWork,
    unknown: UnknownAttempt,
    listed: Sequence[MessageFacts],
    *,
    times: SendTimes,
) -> Mapping[str, MessageFacts]:
    """Return the messages whose phone number and time fit the attempt, by the provider's id.

    The message must have been sent between ``times.skew`` before ``unknown.called_at`` and
    ``times.grace`` after ``unknown.called_at``. Besides ``listed``, the function searches stored
    messages that seem to come from the provider's app. Messages that already belong to an attempt
    are left out.
    """
    first, last = unknown.called_at - times.skew, unknown.called_at + times.grace
    found = {
        facts.provider_message_id: facts
        for facts in listed
        if facts.direction == "outgoing" and first <= facts.created_at <= last
    }
    stored = await uow.session.execute(
        STORED_CANDIDATES,
        {
            "phone": unknown.phone,
            "line_id": unknown.line_id,
            "called_at": unknown.called_at,
            "skew": times.skew.total_seconds(),
            "grace": times.grace_seconds,
        },
    )
    for message in typed_rows(_StoredMessage, stored):
        found.setdefault(message.openphone_id, message.facts(unknown))
    if not found:
        return found
    held = await uow.session.execute(HELD_IDS, {"message_ids": list(found)})
    for message_id in held.scalars():
        found.pop(message_id, None)
    return found


LEARN_OWN_USER = text("""
    UPDATE line SET own_user_id = :user_id
    WHERE id = :line_id AND own_user_id IS DISTINCT FROM :user_id
""")


async def learn_own_user(uow: UnitOfWork, *, line_id: UUID, user_id: str) -> None:
    """Store the provider's id of the user in whose name this service sends over a line."""
    await uow.session.execute(LEARN_OWN_USER, {"line_id": line_id, "user_id": user_id})

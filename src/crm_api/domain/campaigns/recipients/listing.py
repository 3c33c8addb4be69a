"""List the recipients of a campaign by filters, with their names and the messages they got."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    SQLColumnExpression,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.orm import aliased

from crm_api.domain.campaigns.campaign_detail import list_variants, require_campaign
from crm_api.domain.campaigns.errors import InvalidCampaignError
from crm_api.domain.campaigns.models import CampaignMembership
from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.models.sends import AttemptStatus, SendAttempt
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus, SkipReason
from crm_api.domain.people.contacts.search_patterns import search_patterns
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork

_ALL = 2**62
"""A limit that is never reached, because a campaign cannot have so many recipients."""
_NEAR = 2_000
"""The number of recipients that a search reads first, in order. If the search words are common,
enough of these recipients match to fill a page. If the words are rare, the search then looks up all
people that match the words."""
Patterns = Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class RecipientFilter:
    """The conditions that select the recipients to list. A condition that is None is not checked.

    Attributes:
        step: 0 for the first message, 1 for the first follow-up, and so on.
        variant: The name of the variant.
        q: Words in the present name, phone number, e-mail address or company of the contact.
        replied: Whether the recipient replied to the message.
        opted_out: Whether the recipient opted out after the message.
        parked: Whether a user must decide if the message was sent.
        error_code: The code with which the message failed.
    """

    step: int = 0
    status: MembershipStatus | None = None
    variant: str | None = None
    q: str = ""
    replied: bool | None = None
    opted_out: bool | None = None
    parked: bool | None = None
    error_code: str | None = None
    skip_reason: SkipReason | None = None


@dataclass(frozen=True, kw_only=True)
class ListedRecipient:
    """A recipient as the list shows it: the stored row, and values from other tables.

    Attributes:
        member: The row of the recipient in ``campaign_membership``.
        name: The contact's present name; None if the contact has none.
        body: The message as it was sent; None before the first attempt.
        variant: The name of the variant.
    """

    member: CampaignMembership
    name: str | None
    body: str | None
    variant: str


async def find_variant_names(
    uow: UnitOfWork, *, campaign_id: UUID, wanted: str | None
) -> list[str]:
    """Return the names of a campaign's variants, by position.

    Args:
        uow: The unit of work.
        campaign_id: The campaign.
        wanted: A name that one of the variants must have; None for no check.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidCampaignError: The campaign has no variant with the name ``wanted``.
    """
    await require_campaign(uow.session, campaign_id=campaign_id)
    names = [row.name for row in await list_variants(uow.session, campaign_ids=[campaign_id])]
    if wanted is not None and wanted not in names:
        detail = f"The campaign has no variant {wanted!r}. Its variants are: {', '.join(names)}."
        raise InvalidCampaignError(
            [FieldProblem(pointer="/variant", code="unknown_variant", detail=detail)]
        )
    return names


async def list_recipients(
    uow: UnitOfWork, wanted: RecipientFilter, *, campaign_id: UUID, cursor: str | None, limit: int
) -> Page[ListedRecipient]:
    """Return a page of a campaign's recipients at one step, ordered by contact id.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        InvalidCampaignError: The campaign has no variant with the name ``wanted.variant``.
        InvalidCursorError: The cursor is from another listing, or was made with other filters.
        UnsearchableError: The search text has no letter and no digit.
    """
    names = await find_variant_names(uow, campaign_id=campaign_id, wanted=wanted.variant)
    cursors = Cursors("recipients", campaign_id=campaign_id, wanted=wanted)
    position = cursors.read(cursor)
    after = position[1] if position else None
    search = RecipientSearch.of(wanted, campaign_id=campaign_id, variant_names=names)
    found = await uow.session.execute(search.page(after=after, limit=limit + 1))
    rows = [(row.CampaignMembership, row.name, row.body) for row in found]
    if search.patterns and len(rows) <= limit:
        found = await uow.session.execute(search.look_up(after=after, limit=limit + 1))
        rows = [(row.CampaignMembership, row.name, row.body) for row in found]
    listed = [
        ListedRecipient(member=member, name=name, body=body, variant=names[member.variant])
        for member, name, body in rows
    ]
    # The recipients are ordered by contact id only. The format of the cursor also requires an
    # instant, which is not used.
    return cursors.page(
        listed, limit=limit, position=lambda row: (row.member.created_at, row.member.contact_id)
    )


async def read_recipient(
    uow: UnitOfWork, *, campaign_id: UUID, contact_id: UUID
) -> ListedRecipient | None:
    """Return a recipient of a campaign's first message; None if the contact is not a recipient."""
    names = await find_variant_names(uow, campaign_id=campaign_id, wanted=None)
    member = CampaignMembership
    statement = _with_texts(member).where(
        member.campaign_id == campaign_id, member.step == 0, member.contact_id == contact_id
    )
    found = await uow.session.execute(statement, execution_options={"populate_existing": True})
    row = found.one_or_none()
    if row is None:
        return None
    stored: CampaignMembership = row[0]
    return ListedRecipient(
        member=stored, name=row.name, body=row.body, variant=names[stored.variant]
    )


@dataclass(frozen=True, kw_only=True)
class RecipientSearch:
    """Builds the SQL statements for the recipients that a filter selects.

    Attributes:
        wanted: The filter.
        campaign_id: The campaign.
        variant: The position of the variant; None for all variants.
        patterns: For each search term in ``wanted.q`` (a word or a phone number), a list of LIKE
            patterns. A recipient is found if at least one pattern of each list matches.
    """

    wanted: RecipientFilter
    campaign_id: UUID
    variant: int | None
    patterns: Patterns

    @classmethod
    def of(
        cls, wanted: RecipientFilter, *, campaign_id: UUID, variant_names: list[str]
    ) -> "RecipientSearch":
        """Prepare the search for the recipients that match the filter ``wanted``.

        Raises:
            UnsearchableError: The search text has no letter and no digit.
        """
        return cls(
            wanted=wanted,
            campaign_id=campaign_id,
            variant=None if wanted.variant is None else variant_names.index(wanted.variant),
            patterns=search_patterns(wanted.q),
        )

    def page(self, *, after: UUID | None, limit: int) -> Select[*tuple[Any, ...]]:
        """Return the statement for a page of the matching recipients, ordered by contact id.

        If the filter has search words, the statement searches only the next ``_NEAR`` (2,000)
        recipients. If the result then has fewer than ``limit`` rows, use the statement of
        ``look_up()`` instead, because more recipients may match.

        Args:
            after: The contact id at which the previous page ended; None for the first page.
        """
        member = CampaignMembership
        first = [*self._indexed(member), true()][0]
        ordered = select(member).where(*self.span(after), first).order_by(member.contact_id)
        size = select(literal(_NEAR if self.patterns else _ALL, BigInteger)).scalar_subquery()
        near = aliased(member, ordered.limit(size).subquery("member"), name="CampaignMembership")
        return (
            _with_texts(near).where(*self.conditions(near)).order_by(near.contact_id).limit(limit)
        )

    def look_up(self, *, after: UUID | None, limit: int) -> Select[*tuple[Any, ...]]:
        """Return the query for a page of recipients, filtered by search words.

        PostgreSQL first finds the contacts that match the words, and then their recipients. The
        query forces this order, because the reverse order may read all recipients.
        """
        people = select(Contact.id).where(*_are_found(Contact.search_text, self.patterns))
        if after is not None:
            people = people.where(Contact.id > after)
        matches = people.cte("matches").prefix_with("MATERIALIZED")
        found = select(matches.c.id).order_by(matches.c.id).offset(0).subquery("found")
        member = CampaignMembership
        own = (
            select(member)
            .where(*self.span(None), member.contact_id == found.c.id)
            .limit(1)
            .subquery("member")
            .lateral()
        )
        recipient = aliased(member, own, name="CampaignMembership")
        return (
            _with_texts(recipient)
            .select_from(found)
            .join(own, true())
            .where(*self.conditions(recipient, words=False))
            .order_by(found.c.id)
            .limit(limit)
        )

    def span(self, after: UUID | None) -> list[ColumnElement[bool]]:
        """Return the SQL conditions for the recipients of one campaign and one step.

        A step is the first message or one of the follow-ups.

        Args:
            after: Only recipients with a contact id above this one are selected; None for all.
        """
        member = CampaignMembership
        later = [] if after is None else [member.contact_id > after]
        return [member.campaign_id == self.campaign_id, member.step == self.wanted.step, *later]

    def conditions(
        self, member: type[CampaignMembership], *, words: bool = True
    ) -> list[ColumnElement[bool]]:
        """Return the filter as SQL conditions on recipients.

        Args:
            member: The class ``CampaignMembership``, or an alias of it.
            words: Whether to include the conditions for the search words.
        """
        wanted = self.wanted
        found = self._indexed(member)
        if self.variant is not None:
            found.append(member.variant == self.variant)
        if wanted.replied is False:
            found.append(member.replied_at.is_(None))
        if wanted.opted_out is False:
            found.append(member.opted_out_at.is_(None))
        if wanted.parked is not None:
            parked = (
                select(literal(1))
                .where(
                    SendAttempt.membership_id == member.id,
                    SendAttempt.status == AttemptStatus.PARKED,
                    member.status == MembershipStatus.UNKNOWN,
                )
                .correlate(member)
                .exists()
            )
            found.append(parked if wanted.parked else ~parked)
        if words and self.patterns:
            found += _are_found(_of_contact(Contact.search_text, member), self.patterns)
        return found

    def _indexed(self, member: type[CampaignMembership]) -> list[ColumnElement[bool]]:
        """Return those SQL conditions of the filter for which the table has a special index.

        The condition that usually selects the fewest recipients is first.
        """
        wanted = self.wanted
        found: list[ColumnElement[bool]] = []
        if wanted.error_code is not None:
            found.append(member.error_code == wanted.error_code)
        if wanted.skip_reason is not None:
            found.append(member.skip_reason == wanted.skip_reason)
        if wanted.parked:
            found.append(member.status == MembershipStatus.UNKNOWN)
        if wanted.opted_out:
            found.append(member.opted_out_at.is_not(None))
        if wanted.replied:
            found.append(member.replied_at.is_not(None))
        if wanted.status is not None:
            found.append(member.status == wanted.status)
        return found


def _are_found(text: SQLColumnExpression[str], patterns: Patterns) -> list[ColumnElement[bool]]:
    return [or_(*(text.like(pattern) for pattern in term)) for term in patterns]


def _of_contact(
    value: SQLColumnExpression[Any], member: type[CampaignMembership]
) -> SQLColumnExpression[Any]:
    own = select(value).where(Contact.id == member.contact_id)
    return own.correlate(member).scalar_subquery()


def recipient_name(member: type[CampaignMembership]) -> SQLColumnExpression[str | None]:
    """Return SQL for the present name of a recipient's contact; null if the contact has none."""
    words = func.concat_ws(" ", Contact.first_name, Contact.last_name)
    return _of_contact(func.nullif(func.btrim(words), ""), member)


def recipient_body(member: type[CampaignMembership]) -> SQLColumnExpression[str | None]:
    """Return SQL for the text of a recipient's message; it is NULL before the first attempt."""
    own = select(Activity.body).where(Activity.id == member.activity_id)
    return own.correlate(member).scalar_subquery()


def _with_texts(member: type[CampaignMembership]) -> Select[*tuple[Any, ...]]:
    # Subqueries are used, not joins, so that no query plan reads all contacts or all messages.
    return select(
        member, recipient_name(member).label("name"), recipient_body(member).label("body")
    )

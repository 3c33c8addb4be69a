"""The model: decisions of people, accepted messages, and whether each message was allowed.

Every act is recorded after it has taken effect. Every message is recorded at the instant at which
the provider accepts it. The model then checks the message by rules of a few lines each. A fault is
stored and not raised, because an exception in the middle of a call would look like an error of the
provider. The model reads nothing from the service or its database.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from tests.properties.campaign import Campaign, local_day, read_tag
from tests.properties.facts import Accepted, Line, MovedClock
from tests.properties.people import Decision, Person
from tests.properties.provider import SentMessage

CLAIM_AGE = timedelta(seconds=90)
"""The longest time from the claim of a message to its acceptance.

Some rules use the instant of the claim, which the model does not know.
"""
FIRST_BLOCK = timedelta(minutes=10)
QUARTER = timedelta(minutes=15)
CATCH_UP = timedelta(seconds=121)


USER_MESSAGE = "A word by hand."
CONFIRMATION_TEXT = "you have opted out"


def describe(message: SentMessage) -> str:
    """Return a short description of an accepted message."""
    return f"{message.at:%a %Y-%m-%d %H:%M:%S} {message.phone} {message.body[:14]!r}"


@dataclass
class Model:
    """The state of one world, and the faults that were found in it.

    Attributes:
        others: Accepted messages outside campaigns.
        in_flight: Number and body of messages that had passed the gate when the last act took
            effect. They may still be accepted.
        wrong: The faults that were found, as sentences.
        accepted_before: For each event of a message or call from a person, the number of messages
            that were accepted before it.
        version: Increases with every change, except that time passes or a message is accepted.
        promises: For each campaign, step and person, an instant before which no message may be
            sent, as long as the version is the same.
    """

    clock: MovedClock
    line: Line
    people: list[Person] = field(default_factory=list)
    campaigns: list[Campaign] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    others: list[SentMessage] = field(default_factory=list)
    in_flight: set[tuple[str, str]] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    accepted_before: dict[str, int] = field(default_factory=dict)
    version: int = 0
    promises: dict[tuple[int, int, UUID], tuple[datetime, int, str]] = field(default_factory=dict)

    def person(self, phone: str) -> Person:
        """Return the person who has or had this number."""
        return next(person for person in self.people if phone in person.numbers)

    def to(self, phone: str) -> list[Accepted]:
        """Return the campaign messages that were accepted for a number, oldest first."""
        return [one for one in self.accepted if one.phone == phone]

    def accept(self, message: SentMessage) -> None:
        """Record a message that the provider accepts now, and check it."""
        tag = read_tag(message.body)
        if tag is None:
            self.wrong += [f"{describe(message)}: {fault}" for fault in self._other_faults(message)]
            self.others.append(message)
            return
        campaign = next(one for one in self.campaigns if one.number == tag[0])
        person = self.person(message.phone)
        taken = Accepted(message=message, person=person, campaign=campaign, step=tag[1])
        is_in_flight = (message.phone, message.body) in self.in_flight
        self.wrong += [f"{describe(message)}: {fault}" for fault in self._faults(taken)]
        if not is_in_flight:
            self.wrong += [
                f"{describe(message)}: {fault}" for fault in self._violated_decisions(taken)
            ]
        self.accepted.append(taken)

    def _other_faults(self, message: SentMessage) -> Iterator[str]:
        """Yield the faults of a message outside campaigns: a user's message or a confirmation."""
        person = self.person(message.phone)
        if message.body == USER_MESSAGE:
            is_in_flight = (message.phone, message.body) in self.in_flight
            if person.consent_state == "out" and not is_in_flight:
                yield "the number is opted out"
            is_lawful = person.is_lawful(message.at, phone=message.phone)
            if not (person.has_written or person.is_deleted or is_lawful):
                yield "outside of legal hours"
        if CONFIRMATION_TEXT in message.body and message.phone == person.phone:
            before = [
                one for one in self.others if (one.phone, one.body) == (message.phone, message.body)
            ]
            if len(before) >= person.own_word_opt_outs:
                yield "more confirmations than opt-outs"

    def _violated_decisions(self, new: Accepted) -> Iterator[str]:
        """Yield the decisions that a message violates.

        The caller makes this check only for messages that were not in flight at the decision.
        """
        person, campaign = new.person, new.campaign
        if person.consent_state != "free":
            yield f"the number is {person.consent_state}"
        if person.is_deleted:
            yield "the contact was deleted"
        if campaign.status != "on":
            yield f"the campaign is {campaign.status}"
        if new.step > 0 and person.contact_id in campaign.ended:
            yield "the person has replied or called"
        if self.line.blocked_until is not None and new.at < self.line.blocked_until:
            yield "the line is blocked"
        if person.do_not_contact_until is not None and new.at < person.do_not_contact_until:
            yield "the number must not be contacted"

    def _faults(self, new: Accepted) -> Iterator[str]:
        """Yield the faults of a message that are not even allowed for a message in flight."""
        person, campaign = new.person, new.campaign
        if any(one.key == new.key for one in self.accepted):
            yield "a second time"
        if new.at < campaign.start_at or (campaign.end_at is not None and new.at > campaign.end_at):
            yield "before the campaign's start or after its end"
        if not campaign.is_open(person, new.at, line_timezone=self.line.plan.timezone):
            yield "outside of the campaign's hours"
        if not person.is_lawful(new.at):
            yield "outside of legal hours"
        yield from self._caps(new)
        yield from self._contacted_before(new)
        if new.step > 0:
            yield from self._follow_up_faults(new)
        promised = self.promises.get(new.key)
        if promised is not None:
            until, version, rule = promised
            if version == self.version and new.at < until:
                yield f"explained to wait for {rule} until {until}"

    def _caps(self, new: Accepted) -> Iterator[str]:
        plan, zone = new.campaign.plan, self.line.plan.timezone
        today = local_day(new.at, zone)
        of_today = [one for one in self.accepted if local_day(one.at, zone) == today]
        others = sum(local_day(one.at, zone) == today for one in self.others)
        if len(of_today) + others >= self.line.limit_on(new.at):
            yield "over the line's daily limit"
        if sum(one.campaign is new.campaign for one in of_today) >= plan.daily_limit:
            yield "over the campaign's daily limit"
        caps = [new.person.cap]
        if plan.frequency_cap is not None:
            messages, days = plan.frequency_cap
            caps.append((messages, timedelta(days=days)))
        for cap in caps:
            if cap is None:
                continue
            if sum(new.at - one.at < cap[1] for one in self.to(new.phone)) >= cap[0]:
                yield f"over {cap[0]} messages in {cap[1]}"
        if plan.batch is not None:
            size, minutes = plan.batch
            batch = [one.at for one in self.accepted if one.campaign is new.campaign]
            # The rest of a batch may still be sent just before the next batch begins. This rest is
            # less than a whole batch, because at least one earlier message began the batch.
            since = new.at - timedelta(minutes=minutes) + CLAIM_AGE
            if batch.count(new.at) >= size or sum(at >= since for at in batch) >= 2 * size - 1:
                yield "over the size of a batch"
        elif sum(one.campaign is new.campaign and one.at == new.at for one in self.accepted) >= (
            self._at_once(new)
        ):
            yield "too many at once for an even pace"

    def _at_once(self, new: Accepted) -> int:
        """Return the most messages that an even pace may send at one instant.

        The pace spreads the rest of the daily limit over the rest of the day. After a delay of up
        to two minutes, it sends the missed messages at once. The messages of two claims may be sent
        at one instant, so the result is doubled.
        """
        plan, zone = new.campaign.plan, self.line.plan.timezone
        person = new.person
        zones = {zone, *new.campaign.zones(person, line_timezone=zone)}
        left = QUARTER
        while all(local_day(new.at + left, one) == local_day(new.at, one) for one in zones) and (
            person.is_lawful(new.at + left)
            and new.campaign.is_open(person, new.at + left, line_timezone=zone)
        ):
            left += QUARTER
        distance = (left - QUARTER) / min(plan.daily_limit, self.line.limit_on(new.at))
        if not distance:
            return len(self.people)
        return 2 * (1 + math.floor(CATCH_UP / distance))

    def _contacted_before(self, new: Accepted) -> Iterator[str]:
        campaign, plan = new.campaign, new.campaign.plan
        others = [one for one in self.to(new.phone) if one.campaign is not campaign]
        if plan.min_days_between is not None:
            distance = timedelta(days=plan.min_days_between) - CLAIM_AGE
            if any(new.at - one.at < distance for one in others):
                yield f"another campaign's message was sent at {others[-1].at}"
        asks = (
            plan.previously_contacted != "send" and new.person.contact_id not in campaign.approved
        )
        if new.step == 0 and asks and any(one.is_recorded for one in others):
            yield "contacted before"

    def _follow_up_faults(self, new: Accepted) -> Iterator[str]:
        earlier = [
            one
            for one in self.accepted
            if one.key == (new.campaign.number, new.step - 1, new.person.contact_id)
        ]
        if not earlier:
            yield "a follow-up without the step before"
            return
        hours = new.campaign.plan.follow_ups[new.step - 1]
        if new.at < earlier[0].at + timedelta(hours=hours):
            yield "a follow-up too early"

    def record_change(self) -> None:
        """Increase ``version``, so that promises of the earlier version no longer apply.

        A promise is an instant before which a message may not be sent. A change, such as a reply or
        a decision of a user, may allow the message earlier.
        """
        self.version += 1

    def record_decision(self, phone: str, decision: Decision) -> None:
        """Record a decision about messages to a number."""
        self.person(phone).words.append(decision)
        self.record_change()

    def record_reply_or_call(self, phone: str, *, before: int) -> None:
        """Record a reply or call, which ends the person's follow-ups to earlier messages.

        Args:
            before: How many messages were accepted before the reply or call.
        """
        person = self.person(phone)
        for one in self.accepted[:before]:
            if one.person is person:
                one.campaign.ended.add(person.contact_id)
        self.record_change()

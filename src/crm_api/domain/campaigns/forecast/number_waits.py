"""Find the recipients who must wait because of a rule about their phone number, and until when.

The package ``explain`` applies the same rules to one recipient. A test checks that the results of
this module and of ``explain`` are the same.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from crm_api.domain.campaigns.forecast.plan import Waiting
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.consent.legal_rules.rules import RuleBook

MOST_GROUPS = 48
"""People who must wait are divided into groups by the end of their wait. This is the maximum number
of groups; with more groups, the simulation would be slow."""
MIN_DAYS, FREQUENCY_CAP, LEGAL_FREQUENCY = "min_days_between", "frequency_cap", "legal_frequency"
NOT_DUE = "follow_up_waits"
"""The name of the rule by which a follow-up or a postponed message waits until it is due."""


@dataclass(frozen=True, slots=True)
class TextedNumber:
    """A waiting recipient, and when the recipient's number recently got campaign messages.

    A message is recent if a rule may still count it, for example a limit of messages per month.

    Attributes:
        step: The message for which the recipient waits: 0 for the first message, 1 for the first
            follow-up.
        last_other: The time of the newest recent message from another campaign; None if there is no
            such message.
        texted: The instants of the recent messages of all campaigns, newest first.
        read: How many recipients the query examined, including recipients that its result leaves
            out. The value is equal in all items of a result.
    """

    step: int
    zone_key: str
    due_at: datetime
    last_other: datetime | None
    texted: Sequence[datetime]
    read: int


@dataclass(frozen=True, kw_only=True)
class NumberRules:
    """The limits on how often a campaign may send messages to one phone number.

    Attributes:
        min_days: The campaign waits at least this number of days after a message of another
            campaign; None if it does not wait.
        campaign_cap: The campaign's ``frequency_cap``: the maximum number of messages, and the
            period in hours. None if the campaign has no such limit.
        rules: The legal rules. They can limit the number of messages too.
    """

    min_days: int | None
    campaign_cap: tuple[int, int] | None
    rules: RuleBook
    now: datetime

    @classmethod
    def of(cls, campaign: Campaign, *, rules: RuleBook, now: datetime) -> "NumberRules":
        """Collect the campaign's limits and the legal limits on messages to one phone number."""
        cap = campaign.frequency_cap
        return cls(
            min_days=campaign.min_days_between,
            campaign_cap=(cap["texts"], cap["days"] * 24) if cap else None,
            rules=rules,
            now=now,
        )

    def hours(self, zone_keys: Sequence[str]) -> int:
        """Return for how many hours a message can prevent further messages to the same number.

        The longest period of all rules counts; 0 if no rule applies.
        """
        caps = [self.rules.frequency_cap(key, self.now) for key in zone_keys]
        return max(
            (self.min_days or 0) * 24,
            self.campaign_cap[1] if self.campaign_cap else 0,
            max((cap.hours for cap in caps if cap), default=0),
        )

    def held_until(self, number: TextedNumber) -> dict[str, datetime]:
        """Return the rules that prevent a message to the recipient in ``number`` now.

        The keys of the result are the rules. The value of a rule is the instant from which the rule
        allows the message. If the message is not due yet, the rule ``NOT_DUE`` is included.
        """
        found: dict[str, datetime] = {NOT_DUE: number.due_at}
        if self.min_days is not None and number.last_other is not None:
            found[MIN_DAYS] = number.last_other + timedelta(days=self.min_days)
        caps = {
            LEGAL_FREQUENCY: self.rules.frequency_cap(number.zone_key, self.now),
            FREQUENCY_CAP: self.campaign_cap,
        }
        for rule, cap in caps.items():
            if cap is not None and len(number.texted) >= cap[0]:
                found[rule] = number.texted[cap[0] - 1] + timedelta(hours=cap[1])
        return {rule: at for rule, at in found.items() if at > self.now}


def split_waiting(
    waiting: Sequence[Waiting],
    numbers: Sequence[TextedNumber],
    number_rules: NumberRules,
    *,
    scale: float,
) -> list[Waiting]:
    """Divide the waiting people into those who may get a message now and those who must wait.

    Args:
        numbers: The people who may have to wait, or a sample of them.
        scale: How many people each item of ``numbers`` represents; 1 without a sample.

    Returns:
        The new groups. An empty ``held_until`` means that the people may get a message now.
    """
    held = [
        Waiting(zone_key=one.zone_key, step=one.step, people=scale, held_until=until)
        for one in numbers
        if (until := number_rules.held_until(one))
    ]
    counts: Counter[tuple[int, str]] = Counter()
    for one in held:
        counts[one.step, one.zone_key] += 1
    free = [
        Waiting(
            zone_key=group.zone_key,
            step=group.step,
            people=max(0.0, group.people - scale * counts[group.step, group.zone_key]),
        )
        for group in waiting
    ]
    return [*free, *_group_by_end(held)]


def _group_by_end(held: Sequence[Waiting]) -> list[Waiting]:
    """Group people whose wait ends at about the same time.

    The wait of a group ends when the last person in it may get a message.
    """
    ordered = sorted(held, key=lambda one: max(one.held_until.values()))
    size = -(-len(ordered) // MOST_GROUPS)
    groups: defaultdict[tuple[int, int, str], list[Waiting]] = defaultdict(list)
    for position, one in enumerate(ordered):
        groups[position // size, one.step, one.zone_key].append(one)
    found = []
    for own in groups.values():
        until: dict[str, datetime] = {}
        for one in own:
            until |= {rule: max(at, until.get(rule, at)) for rule, at in one.held_until.items()}
        found.append(replace(own[0], people=sum(one.people for one in own), held_until=until))
    return found

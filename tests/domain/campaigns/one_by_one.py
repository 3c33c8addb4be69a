"""A slow and simple sender that sends the plan of a forecast message by message.

It uses no code of the forecast.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from math import ceil
from zoneinfo import ZoneInfo

from crm_api.domain.campaigns import schedule
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.kit.windows import Window

STEP = timedelta(minutes=1)
CATCH_UP = timedelta(minutes=2)


@dataclass(kw_only=True)
class Sender:
    """A campaign that sends messages.

    Attributes:
        people: Number of its recipients for each zone key (state and time zone).
    """

    window: Window
    timezone: str | None
    people: Counter[str]
    daily_limit: int
    batch_size: int | None = None
    batch_minutes: int = 0
    begins: datetime | None = None
    follow_up_hours: Sequence[float] = ()
    reply_share: float = 0.0
    finish: datetime | None = None
    queue: list[tuple[str, int]] = field(default_factory=list)
    """The recipients who are due, each with a zone key and a step."""
    later: list[tuple[datetime, str, int]] = field(default_factory=list)
    used: Counter[date] = field(default_factory=Counter)
    next_at: datetime | None = None
    batch_left: int = 0
    sent: int = 0


@dataclass(kw_only=True)
class SharedLine:
    """The line, the legal rules and the clock that all campaigns share.

    The ramp (smaller limits for the first days) begins on the day of the first message.
    """

    timezone: str
    daily_limit: int
    rules: RuleBook
    now: datetime
    ramp: Sequence[int] = ()
    used: Counter[date] = field(default_factory=Counter)
    first_day: date | None = None

    @property
    def today(self) -> date:
        return self.now.astimezone(ZoneInfo(self.timezone)).date()

    @property
    def remaining(self) -> int:
        past = 0 if self.first_day is None else (self.today - self.first_day).days
        limit = self.ramp[past] if past < len(self.ramp) else self.daily_limit
        return min(limit, self.daily_limit) - self.used[self.today]

    def closing_times(self, sender: Sender) -> dict[str, datetime]:
        """Return the zone keys in which the sender may send now, each with its closing instant.

        A zone key is a state and a time zone.
        """
        if sender.begins is not None and self.now < sender.begins:
            return {}
        tomorrow = self.now.astimezone(ZoneInfo(self.timezone)).replace(hour=0, minute=0)
        found: dict[str, datetime] = {}
        for key in sender.people:
            zones = schedule.resolve_zones(sender.timezone, self.timezone, key)
            own = schedule.open_until(sender.window, zones, self.now)
            legal = self.rules.open_until(key, self.now)
            if own is not None and legal is not None:
                found[key] = min(own, legal, tomorrow + timedelta(days=1))
        return found


def send_all(senders: Sequence[Sender], shared: SharedLine) -> None:
    """Send the messages of all senders until the first sender has no waiting recipients."""
    for sender in senders:
        sender.queue = _mixed(sender.people)
    while senders[0].queue or senders[0].later:
        # A sender without waiting recipients is completed and uses no more of the line's limit.
        active = [sender for sender in senders if sender.queue or sender.later]
        is_open = {id(sender): shared.closing_times(sender) for sender in active}
        sharers = sum(bool(open_keys) for open_keys in is_open.values())
        for sender in active:
            sender.queue += [(key, step) for at, key, step in sender.later if at <= shared.now]
            sender.later = [later for later in sender.later if later[0] > shared.now]
        while sum(_send_one(one, shared, is_open[id(one)], sharers) for one in active):
            pass
        shared.now += STEP


def _mixed(people: Counter[str]) -> list[tuple[str, int]]:
    """Return a queue in which the zone keys are mixed evenly, in proportion to their people."""
    return [
        (key, 0)
        for _, key in sorted(
            ((position + 0.5) / count, key)
            for key, count in people.items()
            for position in range(count)
        )
    ]


def _send_one(
    sender: Sender, shared: SharedLine, open_keys: dict[str, datetime], sharers: int
) -> bool:
    due = next((entry for entry in sender.queue if entry[0] in open_keys), None)
    room = min(shared.remaining, sender.daily_limit - sender.used[shared.today])
    if due is None or room <= 0 or not _may_send(sender, shared, max(open_keys.values()), sharers):
        return False
    key, step = due
    sender.queue.remove(due)
    sender.sent += 1
    sender.used[shared.today] += 1
    shared.used[shared.today] += 1
    shared.first_day = shared.first_day or shared.today
    sender.finish = shared.now
    answers = int(sender.sent * sender.reply_share) > int((sender.sent - 1) * sender.reply_share)
    if step < len(sender.follow_up_hours) and not answers:
        at = shared.now + timedelta(hours=sender.follow_up_hours[step])
        sender.later.append((at, key, step + 1))
    return True


def _may_send(sender: Sender, shared: SharedLine, closes_at: datetime, sharers: int) -> bool:
    now = shared.now
    if sender.batch_size is not None:
        if sender.next_at is None or now >= sender.next_at:
            sender.batch_left = sender.batch_size
            sender.next_at = now + timedelta(minutes=sender.batch_minutes)
        sender.batch_left -= 1
        return sender.batch_left >= 0
    if sender.next_at is not None and now < sender.next_at:
        return False
    own = sender.daily_limit - sender.used[shared.today]
    share = min(own, ceil(shared.remaining / sharers))
    since = now if sender.next_at is None else max(sender.next_at, now - CATCH_UP)
    sender.next_at = since + (closes_at - now) / share
    return True

"""What happens in the middle of the worker's minute, to those whom it is about."""

from datetime import timedelta

from tests.properties.acts import Acts
from tests.properties.campaign import Campaign
from tests.properties.driver import NO_WORDS, BreakIn, Driver
from tests.properties.model import Model
from tests.properties.people import Person
from tests.properties.service import Service

TIME_PASSES = "time passes"
ANOTHER_WORKER = "another worker"
MEANWHILE = (
    "stop",
    "opt out",
    "doubt",
    "reply",
    "call",
    "pause",
    "cancel",
    "bar",
    "delete",
    ANOTHER_WORKER,
    TIME_PASSES,
    TIME_PASSES,
)
WHILE_CALLING = frozenset({"gate.committed", "call.before_body"})
"""There the body of a call looks at the true clock; moving ours proves nothing."""


class Meanwhile:
    """Acts of one world that break into the worker's work."""

    def __init__(self, service: Service, model: Model, driver: Driver, acts: Acts) -> None:
        self._service = service
        self._model = model
        self._driver = driver
        self._acts = acts

    def at(self, point: str, act: str, *, position: int, seconds: float) -> BreakIn:
        """Plan an act for a step; it is about somebody who is just being texted, if there is."""
        if act == TIME_PASSES and point in WHILE_CALLING:
            act = ANOTHER_WORKER
        return BreakIn(point=point, act=lambda: self._do(act, position, seconds))

    async def _do(  # noqa: C901 - one line an act
        self, act: str, position: int, seconds: float
    ) -> None:
        person, campaign = await self.concerned(position)
        match act:
            case "stop":
                await self._acts.write(person, "STOP")
            case "opt out":
                await self._acts.decide_consent(person, "out")
            case "doubt":
                await self._acts.write(person, "You can stop now")
            case "reply":
                await self._acts.write(person, NO_WORDS[0])
            case "call":
                await self._acts.call(person)
            case "pause" | "cancel":
                await self._acts.move(campaign, act)
            case "bar":
                await self._acts.bar(person, days=1)
            case "delete":
                await self._acts.delete(person)
            case "another worker":
                await self._driver.drain()
            case "time passes":
                self._model.clock.move(timedelta(seconds=seconds))

    async def concerned(self, position: int) -> tuple[Person, Campaign]:
        """Pick one of the sends that are open, else one of those who wait, else anybody."""
        rows = await self._service.rows(
            "SELECT phone, campaign_id FROM send_attempt "
            "WHERE is_open AND campaign_id IS NOT NULL "
            "ORDER BY phone, campaign_id"
        ) or await self._service.rows(
            "SELECT phone, campaign_id FROM campaign_membership WHERE status = 'pending' "
            "ORDER BY due_at, phone, campaign_id LIMIT 3"
        )
        people, campaigns = self._model.people, self._model.campaigns
        if not rows:
            return people[position % len(people)], campaigns[position % len(campaigns)]
        row = rows[position % len(rows)]
        campaign = next(one for one in campaigns if one.id == row.campaign_id)
        return self._model.person(row.phone), campaign

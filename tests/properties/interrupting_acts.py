"""Acts that interrupt the worker while it sends, about the people whose messages are in flight."""

from datetime import timedelta

from tests.properties.acts import Acts
from tests.properties.driver import OTHER_MESSAGES, Driver, Interruption
from tests.properties.model import Model
from tests.properties.people import Person
from tests.properties.service import Service

TIME_PASSES = "time passes"
ANOTHER_WORKER = "another worker"
INTERRUPTING_ACTS = (
    "stop",
    "opt out",
    "doubt",
    "reply",
    "call",
    "pause",
    "pause",
    "cancel",
    "bar",
    "delete",
    ANOTHER_WORKER,
    TIME_PASSES,
    TIME_PASSES,
)
WRITTEN = {"stop": "STOP", "doubt": "You can stop now", "reply": OTHER_MESSAGES[0]}
WHILE_CALLING = frozenset({"gate.committed", "call.before_body"})
"""Steps at which the body of the call reads the true clock.

At these steps, moving the clock of the test would prove nothing.
"""


class InterruptingActs:
    """Acts that interrupt the worker of one world (one run of the service and the model)."""

    def __init__(self, service: Service, model: Model, driver: Driver, acts: Acts) -> None:
        self._service = service
        self._model = model
        self._driver = driver
        self._acts = acts

    def at(self, point: str, act: str, *, position: int, seconds: float) -> Interruption:
        """Return an interruption at a step: an act about a person whose message is in flight.

        If there is no such person, the act is about another person.
        """
        if act == TIME_PASSES and point in WHILE_CALLING:
            act = ANOTHER_WORKER
        return Interruption(point=point, act=lambda: self._do(act, position, seconds))

    async def _do(self, act: str, position: int, seconds: float) -> None:
        person, acts = await self.person_in_flight(position), self._acts
        campaigns = self._model.campaigns
        match act:
            case "stop" | "doubt" | "reply":
                await acts.write(person, WRITTEN[act])
            case "opt out":
                await acts.decide_consent(person, "out")
            case "call":
                await acts.call(person)
            case "bar":
                await acts.flag_do_not_contact(person, days=1)
            case "delete":
                await acts.delete(person)
            case "pause" | "cancel":
                chosen = campaigns if act == "pause" else campaigns[position % 3 :][:1]
                for campaign in chosen:
                    await acts.move(campaign, act)
            case "another worker":
                await self._driver.drain()
            case "time passes":
                self._model.clock.move(timedelta(seconds=seconds))

    async def person_in_flight(self, position: int) -> Person:
        """Return a person with an open attempt, or else a waiting person, or else any person."""
        rows = await self._service.rows(
            "SELECT phone FROM send_attempt WHERE is_open ORDER BY phone"
        ) or await self._service.rows(
            "SELECT phone FROM campaign_membership WHERE status = 'pending' "
            "ORDER BY due_at, phone LIMIT 3"
        )
        if not rows:
            return self._model.people[position % len(self._model.people)]
        return self._model.person(rows[position % len(rows)].phone)

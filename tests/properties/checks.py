"""Compare the database and the service with the model and the provider."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from tests.properties.campaign import Campaign, local_day
from tests.properties.campaign_acts import BUSINESS
from tests.properties.facts import Accepted
from tests.properties.model import Model
from tests.properties.people import Person
from tests.properties.provider import Provider
from tests.properties.service import Service

from crm_api.domain.campaigns.explain.explanation import ExplanationRead
from crm_api.domain.campaigns.explain.service import explain_recipient
from crm_api.domain.campaigns.figures.campaign_stats import read_campaign_stats as campaign_stats
from crm_api.domain.campaigns.forecast.plan import SendLimits

FINAL = frozenset({"sent", "delivered", "failed", "skipped", "cancelled"})
UNCLEAR = frozenset({"calling", "unknown", "parked"})
"""Statuses of attempts whose message may have been accepted by the provider."""

SET_BY_USER = frozenset({"sent"})
"""Statuses that a user may set for an attempt without the provider's message id."""

EXPLAINED = 3
"""Number of waiting recipients that are explained before the clock is moved."""
NEVER = datetime.max.replace(tzinfo=UTC)


class Checks:
    """Checks of one world (one run of the service, the model and the provider)."""

    def __init__(self, service: Service, provider: Provider, model: Model) -> None:
        self._service = service
        self._provider = provider
        self._model = model

    async def ledger(self) -> None:
        """Check that the model found no fault, and that each accepted message has one attempt."""
        attempts = await self._service.rows(
            "SELECT id, phone, body, status, provider_message_id AS message_id FROM send_attempt"
        )
        held = {row.message_id: row for row in attempts if row.message_id is not None}
        unclear = Counter(
            (row.phone, row.body)
            for row in attempts
            if row.message_id is None and row.status in UNCLEAR | SET_BY_USER
        )
        messages = {message.id: message for message in self._provider.messages}
        assert held.keys() <= messages.keys(), "an attempt holds a message that was never accepted"
        for message in messages.values():
            row = held.get(message.id)
            if row is None:
                assert unclear[message.phone, message.body], f"{message} is lost"
                unclear[message.phone, message.body] -= 1
            else:
                assert (row.phone, row.body) == (message.phone, message.body)
        for one in self._model.accepted:
            one.is_recorded = one.message.id in held
        await self._read_line()
        assert not self._model.wrong, "\n".join(self._model.wrong)

    async def _read_line(self) -> None:
        line = self._model.line
        if line.ramp_day is None and line.plan.ramp is not None:
            found = await self._service.rows("SELECT ramp_started_on AS day FROM line")
            line.ramp_day = found[0].day

    async def figures(self, campaign: Campaign) -> None:
        """Check that the stored counters of each step of a campaign equal the counted rows."""
        for step in range(len(campaign.plan.follow_ups) + 1):
            async with self._service.new_uow() as uow:
                stats = await campaign_stats(
                    uow,
                    campaign_id=campaign.id,
                    step=step,
                    limits=SendLimits(
                        rules=self._service.rules, times=self._service.times, texts_per_second=8
                    ),
                    now=self._model.clock(),
                )
            rows = await self._service.rows(
                "SELECT status, variant, replied_at IS NOT NULL AS has_replied, "
                "opted_out_at IS NOT NULL AS has_opted_out FROM campaign_membership "
                "WHERE campaign_id = :id AND step = :step",
                id=campaign.id,
                step=step,
            )
            by_status = {name: n for name, n in stats.by_status.model_dump().items() if n}
            assert by_status == Counter(row.status for row in rows)
            assert stats.recipients_total == len(rows)
            assert stats.replied == sum(row.has_replied for row in rows)
            assert stats.opted_out == sum(row.has_opted_out for row in rows)
            recipients = [variant.recipients for variant in stats.variants]
            counted = Counter(row.variant for row in rows)
            assert recipients == [counted[position] for position in range(len(recipients))]

    async def explain(self, campaign: Campaign, person: Person, *, step: int) -> ExplanationRead:
        """Return the service's explanation of why a person does not get a message now."""
        async with self._service.new_uow() as uow:
            return await explain_recipient(
                uow,
                campaign_id=campaign.id,
                contact_id=person.contact_id,
                step=step,
                rules=self._service.rules,
                business=BUSINESS,
                times=self._service.times,
                now=self._model.clock(),
            )

    async def waiting(self) -> list[tuple[Campaign, Person, int]]:
        """Return campaign, person and step of each recipient who waits in the database."""
        rows = await self._service.rows(
            "SELECT campaign_id, contact_id, step FROM campaign_membership "
            "WHERE status = 'pending' ORDER BY campaign_id, contact_id, step"
        )
        by_id = {campaign.id: campaign for campaign in self._model.campaigns}
        people = {person.contact_id: person for person in self._model.people}
        return [(by_id[row.campaign_id], people[row.contact_id], row.step) for row in rows]

    async def reasons(
        self, *, most: int | None = None
    ) -> list[tuple[Campaign, Person, int, ExplanationRead]]:
        """Explain at most ``most`` waiting recipients, and record the explanations as promises.

        A promise is that no message is sent before the explained instant.
        """
        found = []
        is_quiet = not await self._service.rows(
            "SELECT 1 FROM send_attempt WHERE is_open OR is_uncertain LIMIT 1"
        )
        for campaign, person, step in (await self.waiting())[:most]:
            explanation = await self.explain(campaign, person, step=step)
            found.append((campaign, person, step, explanation))
            self._compare_with_model(campaign, person, explanation)
            if is_quiet and explanation.stops:
                rule = ", ".join(stop.rule for stop in explanation.stops)
                # The explanation gives no end for a flag that expires, because a recipient who is
                # due before this end is skipped.
                until = explanation.next_allowed_at or person.do_not_contact_until or NEVER
                promise = (until, self._model.version, rule)
                self._model.promises[campaign.number, step, person.contact_id] = promise
        return found

    def _compare_with_model(
        self, campaign: Campaign, person: Person, explanation: ExplanationRead
    ) -> None:
        now = self._model.clock()
        rules = {stop.rule for stop in explanation.stops}
        # A deleted person gets no message, at any hour. The service may explain the hours of the
        # deleted address, or those of the number if a message was being sent at the deletion.
        by_number = replace(person, kind=person.kind.by_number_only)
        known = [person, by_number] if person.is_deleted else [person]
        expected = [self._expected_rules(campaign, one, now=now) for one in known]
        found = {rule: rule in rules for rule in expected[0]}
        assert found in expected, (
            f"{person}, campaign {campaign.number}, {now}: {sorted(rules)}, expected {expected}"
        )

    def _expected_rules(
        self, campaign: Campaign, person: Person, *, now: datetime
    ) -> dict[str, bool]:
        """Return for each rule that the model knows whether it stops a message to the person."""
        zone = self._model.line.plan.timezone
        # No call begins if it could last until the hours or the day have ended.
        instants = (now, now + self._service.times.call)
        is_lawful = all(map(person.is_lawful, instants))
        is_open = all(campaign.is_open(person, at, line_timezone=zone) for at in instants) and all(
            len({local_day(at, one) for at in instants}) == 1
            for one in campaign.zones(person, line_timezone=zone)
        )
        return {
            "outside_legal_hours": not is_lawful,
            "outside_schedule": not is_open,
            "opted_out": person.consent_state == "out",
            "opt_out_hold": person.consent_state == "held",
            "campaign_paused": campaign.status == "paused",
        }

    async def check_waiting_recipients(self) -> None:
        """Check that every waiting recipient has a reason to wait.

        Before this check, all messages that may be sent are sent without faults.
        """
        for campaign, person, step, explanation in await self.reasons():
            assert not explanation.would_send_now, (
                f"campaign {campaign.number}, step {step}, {person.phone} ({person.kind.name}) "
                f"was not sent to at {self._model.clock()}, without a reason"
            )

    async def check_final_statuses(self) -> None:
        """Check that every recipient has a final status and reason that agree with the messages."""
        rows = await self._service.rows(
            "SELECT m.contact_id, m.phone, m.step, m.status, m.skip_reason, m.error_code, "
            "m.campaign_id, c.status AS campaign_status FROM campaign_membership m "
            "JOIN campaign c ON c.id = m.campaign_id"
        )
        by_id = {campaign.id: campaign for campaign in self._model.campaigns}
        got = {one.key: one for one in self._model.accepted}
        for row in rows:
            assert row.status in FINAL, f"{row} has no final status"
            one = got.pop((by_id[row.campaign_id].number, row.step, row.contact_id), None)
            self._check_end(row.status, row, one)
        assert not got, f"messages without a recipient: {got}"
        statuses = {row.campaign_status for row in rows}
        assert statuses <= {"completed", "cancelled"}, f"campaigns are {statuses}"

    def _check_end(self, status: str, row: object, one: Accepted | None) -> None:
        if one is None:
            assert status in {"failed", "skipped", "cancelled"}, f"{row} got no message"
            if status != "cancelled":
                reasons = (getattr(row, "skip_reason", None), getattr(row, "error_code", None))
                assert any(reasons), f"{row} has no reason"
            return
        reported = {"delivered": "delivered", "failed": "failed", "undelivered": "failed"}
        assert status == reported.get(one.message.report, "sent"), f"{row} got {one.message}"

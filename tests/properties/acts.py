"""Acts of people and of users, done in the service and recorded in the model."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from tests.factories import OFFICE
from tests.properties.campaign_acts import CampaignActs
from tests.properties.driver import Driver
from tests.properties.model import USER_MESSAGE, Model
from tests.properties.people import Decision, Kind, Person
from tests.properties.provider import Provider, SentMessage
from tests.properties.service import ACTOR, PROVIDER_LINE, Service

from crm_api.domain.consent.schemas import ConsentDecision
from crm_api.domain.kit.errors import ConflictError
from crm_api.domain.messaging.conversations import user_messages
from crm_api.domain.messaging.conversations.schemas import ReplyCreate
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts import decisions
from crm_api.domain.people.contacts.schemas import ContactCreate, ContactUpdate, FlagCreate
from crm_api.workers.imports import run_imports


class Acts(CampaignActs):
    """All acts of people and users in one world (one run of the service and the model)."""

    def __init__(self, service: Service, provider: Provider, model: Model, driver: Driver) -> None:
        super().__init__(service, provider, model)
        self._driver = driver
        self._events = 0
        self._delayed: list[dict[str, Any]] = []

    async def add_person(self, kind: Kind) -> None:
        """Add a person of this kind (state, time zone and area code) as a contact."""
        position = len(self._model.people)
        phone = f"+1{kind.area_code}555{position:04d}"
        body = ContactCreate.model_validate(
            {
                "phone": phone,
                "first_name": f"P{position}",
                "address": {"state": kind.state, "postal_code": kind.postal_code},
                "timezone": kind.timezone,
            }
        )
        async with self._service.new_uow() as uow:
            made = await contact_changes.create_contact(
                uow, body, now=self._model.clock(), secret=self._service.secret
            )
        self._model.people.append(Person(kind, [phone], made.contact.id))

    async def write(self, person: Person, words: str, *, is_delayed: bool = False) -> None:
        """Let a person write to the line; a delayed message arrives with the next event."""
        event = self._provider.incoming(
            person.phone,
            words,
            line=PROVIDER_LINE,
            at=self._model.clock(),
            number=self._next(),
        )
        await self._deliver([event], is_delayed=is_delayed)

    async def call(self, person: Person) -> None:
        """Let a person call the line."""
        event = self._provider.call(
            person.phone, line=PROVIDER_LINE, at=self._model.clock(), number=self._next()
        )
        await self._deliver([event])

    async def report(
        self, message: SentMessage, statuses: Sequence[str], *, is_delayed: bool = False
    ) -> None:
        """Let the provider report statuses of a message; the first report is delivered twice."""
        events = [
            self._provider.report(message, status=status, number=self._next())
            for status in statuses
        ]
        await self._deliver([*events, events[0]], is_delayed=is_delayed)

    async def _deliver(self, events: list[dict[str, Any]], *, is_delayed: bool = False) -> None:
        self._model.accepted_before |= {event["id"]: len(self._model.accepted) for event in events}
        if is_delayed:
            self._delayed += events
            return
        await self.arrive(events)

    async def arrive(self, events: Sequence[dict[str, Any]] = ()) -> None:
        """Deliver these events, then the delayed events, and apply all of them."""
        delayed, self._delayed = self._delayed, []
        for event in (*events, *delayed):
            await self._service.deliver(event, clock=self._model.clock)
        await self._driver.apply_events()

    def _next(self) -> int:
        self._events += 1
        return self._events

    async def decide_consent(self, person: Person, word: str) -> None:
        """Opt a person out or in, by the decision of a user."""
        if person.is_deleted:
            return
        now = self._model.clock()
        act = decisions.opt_out if word == "out" else decisions.opt_in
        async with self._service.new_uow() as uow:
            await act(
                uow,
                contact_id=person.contact_id,
                decision=ConsentDecision(reason="by telephone"),
                actor=ACTOR,
                now=now,
                secret=self._service.secret,
            )
        decision = Decision(now, word, is_written=False)
        await self._done(lambda: self._model.record_decision(person.phone, decision))

    async def delete(self, person: Person) -> None:
        """Delete a person's contact."""
        if person.is_deleted:
            return
        async with self._service.new_uow() as uow:
            await contact_changes.delete_contact(
                uow, contact_id=person.contact_id, now=self._model.clock()
            )
        await self._done(lambda: setattr(person, "is_deleted", True))

    async def flag_do_not_contact(self, person: Person, *, days: int) -> None:
        """Set the flag ``do_not_contact`` on a person's number for some days."""
        if person.is_deleted:
            return
        until = self._model.clock() + timedelta(days=days)
        async with self._service.new_uow() as uow:
            await decisions.add_flag(
                uow,
                FlagCreate(flag="do_not_contact", expires_at=until),
                contact_id=person.contact_id,
                actor=ACTOR,
                now=self._model.clock(),
                secret=self._service.secret,
            )
        await self._done(lambda: setattr(person, "do_not_contact_until", until))

    async def set_time_zone(self, person: Person, zone: str) -> None:
        """Set a person's time zone."""
        if person.is_deleted:
            return
        async with self._service.new_uow() as uow:
            await contact_changes.update_contact(
                uow,
                ContactUpdate(timezone=zone),
                contact_id=person.contact_id,
                now=self._model.clock(),
            )
        await self._done(lambda: person.move_to(zone))

    async def import_address(self, person: Person) -> None:
        """Import a file with a person's address in Los Angeles."""
        await self._service.import_file(
            f"phone,first_name,state,postal_code\n{person.phone},Pat,CA,90001\n",
            on_duplicate="overwrite",
            now=self._model.clock(),
        )
        await run_imports({"deps": self._driver.deps})
        await self._done(person.move_west)

    async def change_phone(self, person: Person) -> None:
        """Let all messages arrive, then change a person's number within the area code."""
        if person.is_deleted:
            return
        await self.arrive()
        position = 100 * len(person.numbers) + self._model.people.index(person)
        phone = f"+1{person.kind.area_code}555{position:04d}"
        async with self._service.new_uow() as uow:
            await contact_changes.update_contact(
                uow,
                ContactUpdate(phone=phone),
                contact_id=person.contact_id,
                now=self._model.clock(),
            )
        await self._done(lambda: person.change_number(phone))

    async def answer(self, person: Person) -> None:
        """Queue a user's message to a person, if this is allowed; the next tick sends it."""
        reply = ReplyCreate(line_id=self._model.line.id, to=person.phone, body=USER_MESSAGE)
        with suppress(ConflictError):
            async with self._service.new_uow() as uow:
                await user_messages.queue_user_message(
                    uow,
                    reply,
                    sender=OFFICE,
                    rules=self._service.rules,
                    now=self._model.clock(),
                    secret=self._service.secret,
                )
            person.create_again()  # a message to a deleted person creates the contact again
        self._model.record_change()

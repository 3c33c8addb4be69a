"""Simulated people, campaigns and user actions during a run in which processes are killed."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
from benchmarks import population
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from crm_api.dev.sandbox.config import PeopleWeights
from crm_api.platform import clock

PEOPLE_WEIGHTS = PeopleWeights(reply=0.10, stop=0.08, failed=0.03, undelivered=0.02)
BODY = (
    "Hi {{{{ first_name }}}}, this is Granite Foundations with offer {offer}: a free look at the "
    "cracks in your basement. Reply STOP to opt out."
)
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "500_after", "probability": 0.03},
    {"kind": "reset_after", "probability": 0.03},
    {"kind": "202_without_id", "probability": 0.01},
    {"kind": "hang_after", "probability": 0.004},
    {"kind": "hang", "probability": 0.004},
    {"kind": "slow", "probability": 0.02},
    {"kind": "500_before", "probability": 0.01},
    {"kind": "reset_before", "probability": 0.01},
    {"kind": "500_before", "on": "read", "probability": 0.02},
    {"kind": "429", "on": "read", "probability": 0.01},
)
THROTTLES: tuple[dict[str, Any], ...] = ({"kind": "429", "probability": 0.003, "retry_after": 1},)
REPORTED_TWICE = [{"do": "deliver", "after": 0.3, "times": 2}]
NEVER_REPORTED = [{"do": "deliver", "after": 0.3, "times": 0}]
REPORTED_AT_ONCE = [{"do": "deliver", "after": 0.0}]
"""With this script, the delivery report usually arrives before the service has recorded the
provider's response to the request."""
SCRIPTED_SHARE = 0.45
SHARED_OFFER = 2
"""Number of consecutive campaigns with the same message body. The service could confuse the
messages of such campaigns."""
ALL_DAY = {"start": "00:00", "end": "23:59"}
ZONES = ("America/New_York", "Pacific/Honolulu")
LATE_HOUR = 20
NO_BREAKER = {"max_attempts": 20, "max_opt_out_rate": None, "max_failure_rate": None}
UNLIMITED_PACING = {
    "daily_limit": 1_000_000,
    "mode": "burst",
    "batch_size": 100_000,
    "batch_interval_minutes": 1,
}
REPEAT_SECONDS = 100.0
"""How long a request is repeated. If the connection of a process was cut, PostgreSQL keeps the
locks of the process for one minute. This time is longer than that minute by one statement
timeout."""
USER_ACT_WEIGHTS = (20, 60, 1)
ONLY_OPT_OUTS = (0, 1, 0)

_CONTACTS = text("""
    INSERT INTO contact (id, phone, first_name, zone_key, created_at, updated_at)
    SELECT uuid_v7(), x.phone, 'Ada' || x.position, 'MA/America/New_York', now(), now()
    FROM unnest(CAST(:phones AS text[])) WITH ORDINALITY AS x (phone, position)
    RETURNING id, phone
""")
_CLAIMED_CONTACTS = text("""
    SELECT m.contact_id FROM send_attempt a JOIN campaign_membership m ON m.id = a.membership_id
    WHERE a.status = 'claimed' ORDER BY a.created_at DESC, a.id LIMIT 200
""")
# Contacts of a campaign whose recipients are not stored yet are included. If the API's clock is a
# day ahead, the API asks for a job that is due tomorrow. Then the recipients are stored only by the
# scheduled run of the job, up to a minute later.
_WAITING = text("""
    SELECT (SELECT count(*) FROM campaign_membership WHERE status = 'pending')
         + (SELECT coalesce(sum(jsonb_array_length(audience -> 'contact_ids')), 0) FROM campaign
            WHERE status IN ('scheduled', 'running') AND recipients_total IS NULL)
""")


def zone_far_from_midnight(now: datetime) -> str:
    """Return a time zone whose day does not end during a crash run.

    So the legal hours, in which messages may be sent, do not end during the run either.
    """
    here, elsewhere = ZONES
    return here if 0 < now.astimezone(ZoneInfo(here)).hour < LATE_HOUR else elsewhere


class ApiRefusedError(Exception):
    """The API responded with an error that no kill explains."""


class Crowd:
    """Simulated people, the campaigns to them, and the users who change these campaigns."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        api: httpx.AsyncClient,
        sandbox: httpx.AsyncClient,
        chance: random.Random,
        campaign_size: int,
    ) -> None:
        self._engine = engine
        self._api = api
        self._sandbox = sandbox
        self._chance = chance
        self._campaign_size = campaign_size
        self._people: list[UUID] = []
        self._next: list[UUID] = []
        self.protected: set[UUID] = set()
        """Contacts that no simulated user opts out."""
        self.lines: list[str] = []
        self.campaigns: list[str] = []
        self.opted_out_by_api = 0
        self.pauses = 0
        self.cancels = 0

    async def create_people(self, count: int) -> None:
        """Create the contacts and the lines.

        Some people get a script, which says when the provider reports the delivery of messages to
        them.
        """
        phones = [population.phone(position) for position in range(count)]
        self._people = sorted((await self.add_contacts(phones)).values())
        scripts = (REPORTED_TWICE, NEVER_REPORTED, REPORTED_AT_ONCE)
        for number in self._chance.sample(phones, int(count * SCRIPTED_SHARE)):
            body = {"number": number, "script": self._chance.choice(scripts)}
            (await self._sandbox.post("/sandbox/people", json=body)).raise_for_status()
        lines = await self.ask("POST", "/v1/lines/sync")
        self.lines = [line["id"] for line in lines["data"]]
        for line in self.lines:
            await self.ask("PATCH", f"/v1/lines/{line}", {"daily_limit": 1_000_000})

    async def add_contacts(self, phones: Sequence[str]) -> dict[str, UUID]:
        """Create contacts; return the id of the contact for each phone number."""
        async with self._engine.begin() as connection:
            rows = await connection.execute(_CONTACTS, {"phones": list(phones)})
            return {row.phone: row.id for row in rows}

    async def add_provider_faults(self, *, throttles: bool) -> None:
        """Make the provider fail at random."""
        for fault in (*FAULTS, *(THROTTLES if throttles else ())):
            (await self._sandbox.post("/sandbox/faults", json=fault)).raise_for_status()

    async def start_campaign(self, *, line: str | None = None, **changes: object) -> str:
        """Start a campaign to a part of the contacts, and return its id.

        Every two consecutive campaigns have the same message body.

        Args:
            line: Id of the line; if left out, the lines alternate.
            changes: Fields of the draft that replace the usual ones.
        """
        number = len(self.campaigns)
        contact_ids = self._next_contacts()
        draft = {
            "name": f"Campaign {number}",
            "line_id": line or self.lines[number % len(self.lines)],
            "audience": {"contact_ids": [str(contact_id) for contact_id in contact_ids]},
            "variants": [
                {"name": "A", "body": BODY.format(offer=number // SHARED_OFFER), "weight": 100}
            ],
            "schedule": {"window": ALL_DAY, "timezone": zone_far_from_midnight(clock.now())},
            "pacing": UNLIMITED_PACING,
            "rules": NO_BREAKER,
        }
        made = await self.ask("POST", "/v1/campaigns", draft | changes)
        self.campaigns.append(made["id"])
        await self.ask("POST", f"/v1/campaigns/{made['id']}/start")
        return str(made["id"])

    def _next_contacts(self) -> list[UUID]:
        """Return the contacts for the next campaign.

        Some of these contacts may still wait for a message of an earlier campaign.
        """
        if len(self._next) < self._campaign_size:
            self._next += self._chance.sample(self._people, len(self._people))
        taken, self._next = self._next[: self._campaign_size], self._next[self._campaign_size :]
        return list(dict.fromkeys(taken))

    async def keep_recipients_waiting(self, *, backlog: int) -> None:
        """Start a campaign whenever fewer than ``backlog`` recipients wait for their message."""
        while True:
            with suppress(DBAPIError, OSError):
                async with self._engine.connect() as connection:
                    waiting = int(await connection.scalar(_WAITING) or 0)
                if waiting < backlog:
                    await self.start_campaign()
            await asyncio.sleep(0.5)

    async def act_as_users(self, weights: Sequence[int] = USER_ACT_WEIGHTS) -> None:
        """Act as users: pause and resume campaigns, opt people out, cancel campaigns.

        Args:
            weights: How often each of these three acts is chosen.
        """
        acts: tuple[Callable[[], Awaitable[None]], ...] = (
            self._pause_and_resume,
            self._opt_out,
            self._cancel,
        )
        while True:
            await asyncio.sleep(self._chance.uniform(0.2, 1.5))
            if self.campaigns:
                await self._chance.choices(acts, weights=weights)[0]()

    async def resume_paused_campaigns(self) -> None:
        """Resume every paused campaign, so that all campaigns can end."""
        for campaign in self.campaigns:
            shown = await self.ask("GET", f"/v1/campaigns/{campaign}")
            if shown["status"] == "paused":
                await self.move(campaign, "resume")

    async def _pause_and_resume(self) -> None:
        campaign = self._chance.choice(self.campaigns[-4:])
        await self.move(campaign, "pause")
        self.pauses += 1
        await asyncio.sleep(self._chance.uniform(0.2, 1.5))
        await self.move(campaign, "resume")

    async def _opt_out(self) -> None:
        """Opt out a person; if possible, a person whose message is about to be sent."""
        claimed: list[UUID] = []
        with suppress(DBAPIError, OSError):
            async with self._engine.connect() as connection:
                claimed = list(await connection.scalars(_CLAIMED_CONTACTS))
        claimed = [one for one in claimed if one not in self.protected]
        person = self._chance.choice(claimed or self._people)
        await self.ask("POST", f"/v1/contacts/{person}/opt-out", {"reason": "asked by phone"})
        self.opted_out_by_api += 1

    async def _cancel(self) -> None:
        await self.move(self._chance.choice(self.campaigns[-3:]), "cancel")
        self.cancels += 1

    async def move(self, campaign: str, move: str) -> None:
        await self.ask("POST", f"/v1/campaigns/{campaign}/{move}")

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request, and repeat it while the API or one of its servers is down.

        Raises:
            ApiRefusedError: The API responded with another error, or was down for too long.
        """
        deadline = time.monotonic() + REPEAT_SECONDS
        while True:
            with suppress(httpx.TransportError):
                answer = await self._api.request(method, path, json=body)
                if answer.is_success or answer.status_code == httpx.codes.CONFLICT:
                    found: dict[str, Any] = answer.json()
                    return found
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    raise ApiRefusedError(f"{method} {path}: {answer.status_code} {answer.text}")
            if time.monotonic() > deadline:
                raise ApiRefusedError(f"{method} {path}: no answer within {REPEAT_SECONDS:g} s")
            await asyncio.sleep(0.1)

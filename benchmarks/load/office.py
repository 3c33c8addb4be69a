"""The administrator of the company, who imports lists and starts campaigns.

The administrator also sets up the lines and starts the reconciliations.
"""

import asyncio
import csv
import io
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from benchmarks import import_people
from benchmarks.load.company import Company
from benchmarks.load.frontend import Screen
from benchmarks.load.timings import Timings

JSON = dict[str, Any]
POLL_SECONDS = 0.25
WAY_OUT = "Reply STOP to opt out."
"""The end of every campaign message. Other messages do not end with these words."""
BODIES = {
    "A": "Hi {{ first_name }}, this is Granite Foundations. Have you seen cracks in your basement? "
    f"We look at them for free this month. {WAY_OUT}",
    "B": "Granite Foundations here. Free foundation checks in {{ city }} this week, "
    "{{ first_name }}? " + WAY_OUT,
}
_FIRST = ("Ada", "Leo", "Eva", "Omar", "Nora", "Wei", "Ruth", "Ivan", "Zoe", "Olga")
_LAST = ("Rossi", "Kim", "Chen", "Patel", "Silva", "Cohen", "Garcia")


class Office(Screen):
    """The session of the administrator, which uses the admin key."""

    def __init__(
        self, http: aiohttp.ClientSession, company: Company, timings: Timings, seed: int
    ) -> None:
        super().__init__(http, company.admin_key, timings, seed)
        self._lines: list[str] = []
        self.rows = 0
        self.import_seconds = 0.0

    async def prepare(self) -> None:
        """Read the lines from the provider, and set daily limits that are never reached."""
        synced = await self.request("set up", "POST", "/v1/lines/sync")
        self._lines = [line["id"] for line in synced["data"]]
        for line in self._lines:
            await self.request("set up", "PATCH", f"/v1/lines/{line}", {"daily_limit": 1_000_000})

    async def key(self, name: str, scopes: tuple[str, ...]) -> str:
        """Create an API key and return it."""
        body = {"name": name, "scopes": list(scopes)}
        return str((await self.request("set up", "POST", "/v1/api-keys", body))["key"])

    async def take_list(self, name: str, *, first: int, count: int) -> str:
        """Import ``count`` people into a new list; return the id of the list.

        Raises:
            SystemExit: The import failed.
        """
        begun = time.monotonic()
        form = aiohttp.FormData()
        form.add_field("list_name", name)
        form.add_field("file", _file(first, count, self._draw), filename=f"{name}.csv")
        async with self._http.post("/v1/imports", data=form, headers=self._headers) as answer:
            answer.raise_for_status()
            made = await answer.json()
        while True:
            path = f"/v1/imports/{made['id']}"
            found = await self.request("import progress", "GET", path)
            if found.get("status") not in {"pending", "running"}:
                break
            await asyncio.sleep(POLL_SECONDS)
        if found["status"] != "completed":
            raise SystemExit(f"the import {name} {found['status']}: {found['error']}")
        self.rows += count
        self.import_seconds += time.monotonic() - begun
        return str(found["list_id"])

    async def start_campaign(self, number: int, list_id: str) -> str:
        """Start a campaign to a list, and return its id.

        Its messages may be sent at any hour and as fast as possible.
        """
        wanted = {
            "name": f"Campaign {number}",
            "line_id": self._lines[number % len(self._lines)],
            "audience": {"list_id": list_id},
            "variants": [
                {"name": name, "body": body, "weight": 50} for name, body in BODIES.items()
            ],
            "schedule": {
                "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
                "window": {"start": "00:00", "end": "23:59"},
            },
            "pacing": {
                "daily_limit": 1_000_000,
                "mode": "burst",
                "batch_size": 100_000,
                "batch_interval_minutes": 1,
            },
            "rules": {"max_failure_rate": None, "max_opt_out_rate": None},
        }
        made = await self.request("create campaign", "POST", "/v1/campaigns", wanted)
        await self.request("start", "POST", f"/v1/campaigns/{made['id']}/start")
        return str(made["id"])

    async def reconcile(self, *, last: timedelta | None = None) -> JSON:
        """Reconcile with the provider, and return the run.

        The run covers the ``last`` period; if ``last`` is None, it covers all time.
        """
        body = {} if last is None else {"since": (datetime.now(UTC) - last).isoformat()}
        made = await self.request("reconcile", "POST", "/v1/reconciliation-runs", body)
        path = f"/v1/reconciliation-runs/{made['id']}"
        while True:
            run = await self.request("reconciliation", "GET", path)
            if run.get("status") not in {"pending", "running"}:
                break
            await asyncio.sleep(4 * POLL_SECONDS)
        return run


def _file(first: int, count: int, draw: random.Random) -> bytes:
    """Return a CSV of people; all phone numbers have the exchange 555."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(import_people.HEADER)
    for position in range(first, first + count):
        area, exchange, rest = import_people.number(position)
        writer.writerow(
            [
                draw.choice(_FIRST),
                draw.choice(_LAST),
                f"({area}) {exchange}-{rest}",
                f"p{position}@example.com",
                f"{position % 999} Sea St",
                draw.choice(("Quincy", "Boston", "Salem", "Lynn")),
                "MA",
                f"02{position % 1000:03d}",
                str(1900 + position % 120),
                "crack in the basement wall",
            ]
        )
    return text.getvalue().encode()

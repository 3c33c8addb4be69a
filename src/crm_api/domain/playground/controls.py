"""Speaks to the controls of the sandbox's process, which stand beside its copy of the API."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp

from crm_api.domain.playground.errors import SandboxAwayError
from crm_api.domain.playground.schemas import FaultCreate, FaultRead, PersonScriptRead, PersonStep

TIMEOUT = aiohttp.ClientTimeout(total=30.0)


class SandboxControls:
    """Orders of one sandbox."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def move_time(self, ahead: timedelta, *, is_moving: bool) -> timedelta | None:
        """Set the sandbox's clock; returns when its webhooks up to then are delivered.

        Args:
            ahead: Of the machine's clock; the sandbox's never goes back.
            is_moving: More moves follow: requests are not counted meanwhile.

        Returns:
            How long until the next thing happens there; None when nothing is to.
        """
        body = {"shift_seconds": ahead.total_seconds(), "is_moving": is_moving}
        seconds = (await self._ask("POST", "/clock", body))["next_in_seconds"]
        return None if seconds is None else timedelta(seconds=seconds)

    async def people(self) -> list[PersonScriptRead]:
        """List who has a script."""
        return [_person(one) for one in (await self._ask("GET", "/people"))["data"]]

    async def script(self, phone: str, steps: Sequence[PersonStep]) -> PersonScriptRead:
        """Give a number its script, instead of the one that it had."""
        script = [
            step.model_dump(mode="json") | {"after": step.after.total_seconds()} for step in steps
        ]
        return _person(await self._ask("POST", "/people", {"number": phone, "script": script}))

    async def forget_people(self, phone: str | None = None) -> None:
        """Take the script from one number, or from all."""
        await self._ask("DELETE", "/people", params={} if phone is None else {"number": phone})

    async def faults(self) -> list[FaultRead]:
        """List the faults that are ordered, the oldest first."""
        return [_fault(one) for one in (await self._ask("GET", "/faults"))["data"]]

    async def order_fault(self, wanted: FaultCreate) -> FaultRead:
        """Let something go wrong."""
        body: dict[str, Any] = {
            "kind": wanted.kind,
            "number": wanted.phone,
            "count": wanted.count,
            "probability": wanted.percent and wanted.percent / 100,
            "retry_after": wanted.retry_after_seconds,
            "delay": wanted.delay.total_seconds(),
        }
        if not wanted.kind.is_of_webhooks:
            body["on"] = wanted.on
        return _fault(await self._ask("POST", "/faults", body))

    async def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        await self._ask("DELETE", "/faults")

    async def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        params: dict[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        url = f"{self._url}/sandbox{path}"
        try:
            async with self._http.request(method, url, json=body, params=params) as answer:
                answer.raise_for_status()
                return await answer.json()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise SandboxAwayError(
                "The sandbox does not do as it is told; `crm-api up` starts it, and starts it "
                "again when it has ended. Try again in a few seconds."
            ) from error


@asynccontextmanager
async def open_controls(provider_url: str) -> AsyncIterator[SandboxControls]:
    """Give the controls of the sandbox at this address for the length of a block."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
        yield SandboxControls(http, provider_url)


def _person(told: dict[str, Any]) -> PersonScriptRead:
    steps = [
        PersonStep.model_validate(step | {"after": timedelta(seconds=step["after"])})
        for step in told["script"]
    ]
    return PersonScriptRead(phone=told["number"], script=steps)


def _fault(told: dict[str, Any]) -> FaultRead:
    share = told["probability"]
    return FaultRead.model_validate(
        {
            "kind": told["kind"],
            "on": told["on"],
            "phone": told["number"],
            "count": told["count"],
            "percent": None if share is None else round(share * 100),
            "retry_after_seconds": told["retry_after"],
            "delay": timedelta(seconds=told["delay"]),
        }
    )

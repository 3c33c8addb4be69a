"""Client of the sandbox's control API: set the clock, the simulated people and the faults."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp

from crm_api.domain.monitoring.sandbox_control.errors import (
    SandboxAwayError,
    UnknownSandboxLineError,
)
from crm_api.domain.monitoring.sandbox_control.schemas import (
    Act,
    Behaviour,
    FaultCreate,
    FaultRead,
    PersonCall,
    PersonMessage,
    PersonScript,
    PersonScriptRead,
    PersonStep,
)

TIMEOUT = aiohttp.ClientTimeout(total=30.0)

_DELIVERED = PersonStep(do=Act.DELIVER)
_SOON = timedelta(seconds=30)
_LANDLINE, _FILTERED = "30006", "30007"
"""Error codes of the phone carrier. The first means that the number cannot get messages, the second
that the carrier has filtered out the message."""
BEHAVIOURS: dict[Behaviour, tuple[PersonStep, ...]] = {
    Behaviour.REPLIES: (
        _DELIVERED,
        PersonStep(do=Act.REPLY, after=_SOON, text="Yes, please call me.", on_text=1),
    ),
    Behaviour.STOPS: (_DELIVERED, PersonStep(do=Act.REPLY, after=_SOON, text="STOP", on_text=1)),
    Behaviour.SILENT: (_DELIVERED,),
    Behaviour.CALLS: (_DELIVERED, PersonStep(do=Act.CALL, after=_SOON, on_text=1)),
    Behaviour.LANDLINE: (PersonStep(do=Act.FAIL, error_code=_LANDLINE),),
    Behaviour.UNDELIVERED: (PersonStep(do=Act.UNDELIVER, error_code=_FILTERED),),
    Behaviour.UNREACHED: (),
}


class SandboxControls:
    """Sends requests to the control API of one sandbox process."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def move_time(self, ahead: timedelta, *, is_moving: bool) -> timedelta | None:
        """Set the sandbox's clock, and wait until the sandbox has delivered the due webhooks.

        Args:
            ahead: How far to set the sandbox clock ahead of the machine's clock. The sandbox
                ignores a value that would set its clock back.
            is_moving: True for a step of a longer move. The sandbox then does not count requests
                for its rate limits.

        Returns:
            The time until the next event in the sandbox; None if no event is planned.
        """
        body = {"shift_seconds": ahead.total_seconds(), "is_moving": is_moving}
        seconds = (await self._ask("POST", "/clock", body))["next_in_seconds"]
        return None if seconds is None else timedelta(seconds=seconds)

    async def list_people(self) -> list[PersonScriptRead]:
        """Return the scripts of the simulated people in the sandbox.

        A script says what the person with a certain phone number does after each message.
        """
        return [_read_person(one) for one in (await self._ask("GET", "/people"))["data"]]

    async def set_script(self, wanted: PersonScript) -> PersonScriptRead:
        """Set the script of a phone number: what its simulated person does after each message.

        The new script replaces an earlier script of the number.
        """
        steps = wanted.script or () if wanted.behaviour is None else BEHAVIOURS[wanted.behaviour]
        script = [
            step.model_dump(mode="json") | {"after": step.after.total_seconds()} for step in steps
        ]
        body = {"number": wanted.phone, "script": script}
        return _read_person(await self._ask("POST", "/people", body))

    async def clear_scripts(self, phone: str | None = None) -> None:
        """Remove the script of one phone number, or all scripts if ``phone`` is None.

        A script says what a simulated person does after each message.
        """
        await self._ask("DELETE", "/people", params={} if phone is None else {"number": phone})

    async def send_as_person(self, wanted: PersonMessage) -> None:
        """Let a simulated person send a message; the sandbox reports the message by webhook.

        Raises:
            UnknownSandboxLineError: The sandbox has no line with the phone number ``wanted.line``.
        """
        body = {"from": wanted.phone, "text": wanted.text, "media": [{}] * wanted.pictures}
        await self._act("/receive", body, line=wanted.line)

    async def call_as_person(self, wanted: PersonCall) -> None:
        """Let a simulated person make a phone call; the sandbox reports the call by webhooks.

        Raises:
            UnknownSandboxLineError: The sandbox has no line with the phone number ``wanted.line``.
        """
        extras = ["voicemail"] if wanted.voicemail else []
        body = {"person": wanted.phone, "answered": wanted.answered, "with": extras}
        await self._act("/calls", body, line=wanted.line)

    async def _act(self, path: str, body: dict[str, Any], *, line: str | None) -> None:
        if line is not None:
            lines = (await self._ask("GET", ""))["lines"]
            if line not in {one["number"] for one in lines}:
                raise UnknownSandboxLineError
        await self._ask("POST", path, body | {"to": line, "line": line})

    async def list_faults(self) -> list[FaultRead]:
        """Return the simulated faults that can still happen, the oldest first."""
        return [_read_fault(one) for one in (await self._ask("GET", "/faults"))["data"]]

    async def add_fault(self, wanted: FaultCreate) -> FaultRead:
        """Add a simulated fault to the sandbox, and return the fault as the sandbox stored it."""
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
        return _read_fault(await self._ask("POST", "/faults", body))

    async def clear_faults(self) -> None:
        """Remove all simulated faults, so that the sandbox works normally again."""
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
            raise SandboxAwayError from error


@asynccontextmanager
async def open_controls(provider_url: str) -> AsyncIterator[SandboxControls]:
    """Open a client for the sandbox at this address; the ``async with`` block closes it."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
        yield SandboxControls(http, provider_url)


def _read_person(answer: dict[str, Any]) -> PersonScriptRead:
    steps = [
        PersonStep.model_validate(step | {"after": timedelta(seconds=step["after"])})
        for step in answer["script"]
    ]
    return PersonScriptRead(phone=answer["number"], script=steps)


def _read_fault(answer: dict[str, Any]) -> FaultRead:
    share = answer["probability"]
    return FaultRead(
        kind=answer["kind"],
        on=answer["on"],
        phone=answer["number"],
        count=answer["count"],
        percent=None if share is None else round(share * 100),
        retry_after_seconds=answer["retry_after"],
        delay=timedelta(seconds=answer["delay"]),
    )

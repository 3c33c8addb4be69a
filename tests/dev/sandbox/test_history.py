from datetime import timedelta
from typing import Any

from tests.dev.sandbox.support import (
    LINE,
    NOW,
    OTHER,
    PERSON,
    LocalSandbox,
    ManualClock,
    open_sandbox,
)
from tests.domain.provider.openphone.samples import check_response

from crm_api.dev.sandbox.config import SandboxConfig

CALLS = f"/v1/calls?phoneNumberId={LINE}&participants=%2B16175550123&maxResults=10"
CONVERSATIONS = "/v1/conversations?maxResults=2"
EVERYTHING = ["recording", "voicemail", "summary", "transcript"]


async def _conversations(sandbox: LocalSandbox, query: str = "") -> list[str]:
    found: list[str] = []
    token: str | None = ""
    while token is not None:
        more = f"&pageToken={token}" if token else ""
        answer = (await sandbox.http.get(CONVERSATIONS + query + more)).json()
        found += [one["participants"][0] for one in answer["data"]]
        token = answer["nextPageToken"]
    return found


async def _call(sandbox: LocalSandbox, **more: Any) -> str:
    made: str = (await sandbox.control("/calls", {"person": PERSON, **more}))["id"]
    return made


async def test_conversations_are_listed_last_active_first() -> None:
    clock = ManualClock()
    async with open_sandbox(SandboxConfig(people="silent", clock=clock)) as sandbox:
        for number in (PERSON, OTHER, "+16175550150", "+16175550151"):
            await sandbox.send(number)
            clock.move(60)
        await sandbox.control("/receive", {"from": PERSON, "text": "Yes"})
        clock.move(60)
        await _call(sandbox, person=OTHER)

        everyone = await _conversations(sandbox)
        lately = await _conversations(
            sandbox, "&updatedAfter=" + (NOW + timedelta(minutes=3)).isoformat().replace("+", "%2B")
        )

    assert everyone == [OTHER, PERSON, "+16175550151", "+16175550150"]
    assert lately == [OTHER, PERSON, "+16175550151"]


async def test_calls_are_listed_newest_first() -> None:
    clock = ManualClock()
    async with open_sandbox(SandboxConfig(people="silent", clock=clock)) as sandbox:
        made = []
        for _ in range(3):
            made.append(await _call(sandbox))
            clock.move(60)
        await _call(sandbox, person=OTHER)

        first = (await sandbox.http.get(CALLS.replace("=10", "=2"))).json()
        rest = (await sandbox.http.get(f"{CALLS}&pageToken={first['nextPageToken']}")).json()

    listed = [one["id"] for one in first["data"] + rest["data"]]
    assert listed == made[::-1]
    assert rest["nextPageToken"] is None


async def test_history_matches_the_providers_api_description() -> None:
    async with open_sandbox() as sandbox:
        await sandbox.send()
        call = await _call(sandbox, **{"with": EVERYTHING})
        conversations = (await sandbox.http.get(CONVERSATIONS)).json()
        listed = (await sandbox.http.get(CALLS)).json()
        one = (await sandbox.http.get(f"/v1/calls/{call}")).json()
        families = ("recordings", "voicemails", "summaries", "transcripts")
        extras = [(await sandbox.http.get(f"/v1/call-{name}/{call}")).json() for name in families]

    check_response("GET /v1/conversations", 200, conversations)
    check_response("GET /v1/calls", 200, listed)
    check_response("GET /v1/calls/{id}", 200, one)
    for name, extra in zip(families, extras, strict=True):
        check_response(f"GET /v1/call-{name}/{{id}}", 200, extra)
    assert listed["data"] == [one["data"]]


async def test_call_has_no_recording_summary_or_transcript_by_default() -> None:
    async with open_sandbox() as sandbox:
        call = await _call(sandbox)
        recordings = await sandbox.http.get(f"/v1/call-recordings/{call}")
        others = [
            (await sandbox.http.get(f"/v1/call-{name}/{call}")).status_code
            for name in ("voicemails", "summaries", "transcripts")
        ]

    assert recordings.json() == {"data": []}
    assert others == [404, 404, 404]


async def test_call_list_with_two_participants_is_refused() -> None:
    async with open_sandbox() as sandbox:
        answer = await sandbox.http.get(f"{CALLS}&participants=%2B16175550124")

    assert answer.status_code == 400

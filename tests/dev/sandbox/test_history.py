from datetime import timedelta
from typing import Any

from tests.dev.sandbox.support import LINE, NOW, OTHER, PERSON, Bench, ManualClock, bench
from tests.domain.provider.openphone.samples import check_response

from crm_api.dev.sandbox.config import SandboxConfig

CALLS = f"/v1/calls?phoneNumberId={LINE}&participants=%2B16175550123&maxResults=10"
CONVERSATIONS = "/v1/conversations?maxResults=2"
EVERYTHING = ["recording", "voicemail", "summary", "transcript"]


async def _conversations(at: Bench, query: str = "") -> list[str]:
    found: list[str] = []
    token: str | None = ""
    while token is not None:
        more = f"&pageToken={token}" if token else ""
        answer = (await at.http.get(CONVERSATIONS + query + more)).json()
        found += [one["participants"][0] for one in answer["data"]]
        token = answer["nextPageToken"]
    return found


async def _call(at: Bench, **more: Any) -> str:
    made: str = (await at.control("/calls", {"person": PERSON, **more}))["id"]
    return made


async def test_conversations_are_listed_last_active_first() -> None:
    clock = ManualClock()
    async with bench(SandboxConfig(people="silent", clock=clock)) as at:
        for number in (PERSON, OTHER, "+16175550150", "+16175550151"):
            await at.send(number)
            clock.move(60)
        await at.control("/receive", {"from": PERSON, "text": "Yes"})
        clock.move(60)
        await _call(at, person=OTHER)

        everyone = await _conversations(at)
        lately = await _conversations(
            at, "&updatedAfter=" + (NOW + timedelta(minutes=3)).isoformat().replace("+", "%2B")
        )

    assert everyone == [OTHER, PERSON, "+16175550151", "+16175550150"]
    assert lately == [OTHER, PERSON, "+16175550151"]


async def test_calls_are_listed_newest_first() -> None:
    clock = ManualClock()
    async with bench(SandboxConfig(people="silent", clock=clock)) as at:
        made = []
        for _ in range(3):
            made.append(await _call(at))
            clock.move(60)
        await _call(at, person=OTHER)

        first = (await at.http.get(CALLS.replace("=10", "=2"))).json()
        rest = (await at.http.get(f"{CALLS}&pageToken={first['nextPageToken']}")).json()

    listed = [one["id"] for one in first["data"] + rest["data"]]
    assert listed == made[::-1]
    assert rest["nextPageToken"] is None


async def test_history_has_the_described_shapes() -> None:
    async with bench() as at:
        await at.send()
        call = await _call(at, **{"with": EVERYTHING})
        conversations = (await at.http.get(CONVERSATIONS)).json()
        listed = (await at.http.get(CALLS)).json()
        one = (await at.http.get(f"/v1/calls/{call}")).json()
        families = ("recordings", "voicemails", "summaries", "transcripts")
        extras = [(await at.http.get(f"/v1/call-{name}/{call}")).json() for name in families]

    check_response("GET /v1/conversations", 200, conversations)
    check_response("GET /v1/calls", 200, listed)
    check_response("GET /v1/calls/{id}", 200, one)
    for name, extra in zip(families, extras, strict=True):
        check_response(f"GET /v1/call-{name}/{{id}}", 200, extra)
    assert listed["data"] == [one["data"]]


async def test_call_without_extras_has_none() -> None:
    async with bench() as at:
        call = await _call(at)
        recordings = await at.http.get(f"/v1/call-recordings/{call}")
        others = [
            (await at.http.get(f"/v1/call-{name}/{call}")).status_code
            for name in ("voicemails", "summaries", "transcripts")
        ]

    assert recordings.json() == {"data": []}
    assert others == [404, 404, 404]


async def test_call_list_takes_one_participant() -> None:
    async with bench() as at:
        answer = await at.http.get(f"{CALLS}&participants=%2B16175550124")

    assert answer.status_code == 400

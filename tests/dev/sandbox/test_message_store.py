from dataclasses import replace
from pathlib import Path

from tests.dev.sandbox.support import OTHER, PERSON, bench

from crm_api.dev.sandbox.config import SandboxConfig

SILENT = SandboxConfig(people="silent")


def _config(tmp_path: Path) -> SandboxConfig:
    return replace(SILENT, journal=tmp_path / "kept" / "sandbox.jsonl")


async def test_accepted_messages_survive_a_restart(tmp_path: Path) -> None:
    config = _config(tmp_path)
    async with bench(config) as at:
        await at.control("/people", {"number": PERSON, "script": [{"do": "fail"}]})
        await at.send(text="Sí 👍")
        await at.control("/receive", {"from": OTHER, "text": "STOP"})
        await at.receiver.wait_for(2)
        before = (await at.http.get("/sandbox/messages")).json()

    async with bench(config) as at:
        after = (await at.http.get("/sandbox/messages")).json()
        await at.send(OTHER)
        (blocked,) = await at.receiver.wait_for(1)
        stats = await at.stats()

    assert after == before
    assert blocked.event["type"] == "message.failed"
    assert (stats["stops"], stats["after_stop"]) == (1, 1)


async def test_line_cut_off_by_a_kill_does_no_harm(tmp_path: Path) -> None:
    config = _config(tmp_path)
    async with bench(config) as at:
        await at.send(text="whole")
    assert config.journal is not None
    with config.journal.open("ab") as journal:
        journal.write(b'no json\n{"set":"delivered","id":"ACnone","at":1,"code":null}\n{"seq":2')

    async with bench(config) as at:
        await at.send(text="next")
    async with bench(config) as at:
        texts = [one["text"] for one in (await at.http.get("/sandbox/messages")).json()["data"]]

    assert texts == ["whole", "next"]


async def test_reset_empties_the_journal(tmp_path: Path) -> None:
    config = _config(tmp_path)
    async with bench(config) as at:
        await at.send()
        await at.control("/reset")

    async with bench(config) as at:
        assert (await at.stats())["accepted"] == 0


async def test_unreported_messages_continue_after_a_restart(tmp_path: Path) -> None:
    config = _config(tmp_path)
    async with bench(config) as at:
        await at.send()

    lively = replace(config, people=SandboxConfig().people)
    async with bench(lively) as at:
        at.app.workspace.resume()
        deliveries = await at.receiver.wait_for(1)

    assert deliveries[0].event["data"]["context"]["recipientIdentifiers"] == [PERSON]

from dataclasses import replace
from pathlib import Path

from tests.dev.sandbox.support import OTHER, PERSON, open_sandbox

from crm_api.dev.sandbox.config import SandboxConfig

SILENT = SandboxConfig(people="silent")


def _config(tmp_path: Path) -> SandboxConfig:
    return replace(SILENT, journal=tmp_path / "kept" / "sandbox.jsonl")


async def test_accepted_messages_survive_a_restart(tmp_path: Path) -> None:
    config = _config(tmp_path)
    async with open_sandbox(config) as sandbox:
        await sandbox.control("/people", {"number": PERSON, "script": [{"do": "fail"}]})
        await sandbox.send(text="Sí 👍")
        await sandbox.control("/receive", {"from": OTHER, "text": "STOP"})
        await sandbox.receiver.wait_for(2)
        before = (await sandbox.http.get("/sandbox/messages")).json()

    async with open_sandbox(config) as sandbox:
        after = (await sandbox.http.get("/sandbox/messages")).json()
        await sandbox.send(OTHER)
        (blocked,) = await sandbox.receiver.wait_for(1)
        stats = await sandbox.stats()

    assert after == before
    assert blocked.event["type"] == "message.failed"
    assert (stats["stops"], stats["after_stop"]) == (1, 1)


async def test_journal_line_cut_off_by_a_kill_is_ignored(tmp_path: Path) -> None:
    config = _config(tmp_path)
    async with open_sandbox(config) as sandbox:
        await sandbox.send(text="whole")
    assert config.journal is not None
    with config.journal.open("ab") as journal:
        journal.write(b'no json\n{"set":"delivered","id":"ACnone","at":1,"code":null}\n{"seq":2')

    async with open_sandbox(config) as sandbox:
        await sandbox.send(text="next")
    async with open_sandbox(config) as sandbox:
        texts = [
            one["text"] for one in (await sandbox.http.get("/sandbox/messages")).json()["data"]
        ]

    assert texts == ["whole", "next"]


async def test_reset_empties_the_journal(tmp_path: Path) -> None:
    config = _config(tmp_path)
    async with open_sandbox(config) as sandbox:
        await sandbox.send()
        await sandbox.control("/reset")

    async with open_sandbox(config) as sandbox:
        assert (await sandbox.stats())["accepted"] == 0


async def test_messages_without_a_report_are_reported_after_a_restart(tmp_path: Path) -> None:
    config = _config(tmp_path)
    async with open_sandbox(config) as sandbox:
        await sandbox.send()

    answering = replace(config, people=SandboxConfig().people)
    async with open_sandbox(answering) as sandbox:
        sandbox.app.workspace.resume()
        deliveries = await sandbox.receiver.wait_for(1)

    assert deliveries[0].event["data"]["context"]["recipientIdentifiers"] == [PERSON]

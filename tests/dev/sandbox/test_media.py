import io
import wave

import httpx
from tests.dev.sandbox.support import PERSON, URL, open_sandbox

from crm_api.dev.sandbox.app import run_sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.domain.messaging.media.file_types import type_of

WITH_MEDIA_URL = SandboxConfig(people="silent", media_url=URL)


async def test_picture_of_a_message_can_be_fetched() -> None:
    async with open_sandbox(WITH_MEDIA_URL) as sandbox:
        await sandbox.control("/receive", {"from": PERSON, "text": "a crack", "media": [{}]})
        [delivery] = await sandbox.receiver.wait_for(1)
        [named] = delivery.event["data"]["resource"]["media"]

        picture = await sandbox.http.get(named["url"])
        again = await sandbox.http.get(named["url"])

    assert picture.headers["content-type"] == named["type"] == "image/png"
    assert type_of(picture.content) == "image/png"
    assert again.content == picture.content


async def test_recording_and_voicemail_of_a_call_can_be_fetched() -> None:
    async with open_sandbox(WITH_MEDIA_URL) as sandbox:
        call = {"person": PERSON, "answered": False, "with": ["recording", "voicemail"]}
        await sandbox.control("/calls", call)
        events = [one.event for one in await sandbox.receiver.wait_for(5)]
        resources = {event["type"]: event["data"]["resource"] for event in events}
        recording = resources["call.recording.completed"]["recordings"][0]

        first = await sandbox.http.get(recording["url"])
        second = await sandbox.http.get(resources["call.voicemail.completed"]["recordingUrl"])

    assert recording["type"] == "audio/wav"
    assert first.content != second.content
    with wave.open(io.BytesIO(first.content)) as sound:
        assert sound.getnframes() == sound.getframerate()


async def test_sandbox_without_a_media_url_uses_addresses_that_do_not_exist() -> None:
    async with open_sandbox() as sandbox:
        await sandbox.control("/calls", {"person": PERSON, "with": ["recording"]})
        deliveries = await sandbox.receiver.wait_for(4)

    [recording] = deliveries[-1].event["data"]["resource"]["recordings"]
    assert recording["url"].startswith("https://recordings.example.com/")


def test_sandbox_on_a_port_serves_the_files_that_it_names() -> None:
    with run_sandbox(SandboxConfig(people="silent")) as running:
        named = httpx.get(f"{running.url}/media/any.png")
        other = httpx.get(f"{running.url}/media/any.exe")

    assert (named.status_code, other.status_code) == (200, 404)
    assert running.app.workspace.config.media_url == running.url

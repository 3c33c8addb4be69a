import logging
import socket

import httpx
import pytest
from tests.dev.sandbox.support import LINE, PERSON

from crm_api.dev.sandbox.app import run_sandbox
from crm_api.dev.sandbox.config import BANNER, SandboxConfig

SILENT = SandboxConfig(people="silent", rate_per_second=None, hang_seconds=30)
SEND = {"content": "Hi", "from": LINE, "to": [PERSON]}
KEY = {"authorization": "key"}


def test_sandbox_states_that_no_real_messages_are_sent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), run_sandbox(SILENT) as sandbox:
        shown = httpx.get(f"{sandbox.url}/sandbox").json()

    assert BANNER in caplog.messages
    assert shown["banner"] == BANNER
    assert "no real messages are sent" in BANNER


def test_reset_closes_the_connection_without_an_answer() -> None:
    with run_sandbox(SILENT) as sandbox, httpx.Client(base_url=sandbox.url, headers=KEY) as http:
        for kind, on in (("reset_before", "send"), ("reset_after", "send"), ("hang", "read")):
            http.post("/sandbox/faults", json={"kind": kind, "on": on}).raise_for_status()
        for _ in range(2):
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                http.post("/v1/messages", json=SEND)
        with pytest.raises(httpx.ReadTimeout):
            http.get("/v1/phone-numbers", timeout=0.1)
        stats = http.get("/sandbox/stats").json()

    assert stats["accepted"] == 1


def test_reset_fault_of_reads_closes_the_connection() -> None:
    with run_sandbox(SILENT) as sandbox, httpx.Client(base_url=sandbox.url, headers=KEY) as http:
        http.post("/sandbox/faults", json={"kind": "reset_before", "on": "read"})

        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            http.get("/v1/phone-numbers")


def test_incomplete_request_is_not_accepted() -> None:
    with run_sandbox(SILENT) as sandbox:
        host, port = sandbox.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(
                b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: key\r\n"
                b'content-length: 100\r\n\r\n{"content":"Hi"'
            )
        stats = httpx.get(f"{sandbox.url}/sandbox/stats").json()

    assert stats["accepted"] == 0


def test_webhook_is_posted_over_http() -> None:
    received: list[tuple[bytes, str]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        config = SandboxConfig(
            people="silent", webhook_url=f"http://127.0.0.1:{server.getsockname()[1]}/hook"
        )
        with run_sandbox(config) as sandbox:
            httpx.post(
                f"{sandbox.url}/sandbox/receive", json={"from": PERSON, "text": "Hi"}
            ).raise_for_status()
            connection, _ = server.accept()
            with connection:
                connection.settimeout(5)
                head = connection.recv(65536)
                received.append((head, "whole"))
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    assert received[0][0].startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"webhook-signature: v1," in received[0][0].lower()


def test_port_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        run_sandbox(SILENT, port=taken.getsockname()[1]).__enter__()

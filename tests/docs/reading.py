"""Run the blocks of a page, and compare each output with the output on the page."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import httpx
from tests.docs import programs
from tests.docs.comparing import fits
from tests.docs.pages import ROOT, Block, Kind, Step, setup
from tests.docs.shell import BlockError, Result, Shell

from crm_api.platform.settings import Settings, SettingsError, read_env_file

API, SANDBOX = "127.0.0.1:8000", "127.0.0.1:8001"
"""Addresses of the service and the sandbox on the pages. In a test, both have other ports."""
_NEEDED = {
    "CRM_OPENPHONE_WEBHOOK_SECRETS": "whsec_YSBrZXkgb2YgdHdlbnR5LWZvdXIgYnl0ZXM=",
    "CRM_SECRET_KEY": "a test's secret key of 32 characters",
}


T = TypeVar("T")


class WrongPageError(AssertionError):
    """The service does not behave as the page shows."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """A running service. Its sandbox has the next port."""

    port: int
    data: Path
    admin_key: str

    def real(self, text: str) -> str:
        """Replace the addresses that the pages show with the real ones of this service."""
        return text.replace(API, self._api).replace(SANDBOX, self._sandbox)

    def usual(self, text: str) -> str:
        """Replace the real addresses of this service with those that the pages show."""
        return text.replace(self._api, API).replace(self._sandbox, SANDBOX)

    @property
    def _api(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def _sandbox(self) -> str:
        return f"127.0.0.1:{self.port + 1}"


class Reader:
    """A simulated reader who runs the blocks of a page.

    The reader has a running service, and a folder that looks like the folder of the project.
    """

    def __init__(self, live: Live, folder: Path) -> None:
        folder.mkdir()
        (folder / ".crm-data").symlink_to(live.data)
        (folder / ".venv").symlink_to(sys.prefix)
        self._live = live
        self._folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
        self._environment = {**kept, "PYTHONPATH": str(ROOT / "src")}

    def follow(self, steps: list[Step]) -> None:
        """Run all steps in their order.

        The blocks of one programming language run together, when the first of them is due.

        Raises:
            WrongPageError: A step failed, or its output does not match the page.
        """
        with Shell(self._folder, self._environment) as shell:
            _try(setup(), lambda: shell.run(self._live.real(setup().text)))
            while steps:
                step, *steps = steps
                match step.block.kind:
                    case Kind.SHELL:
                        self._run(shell, step)
                    case Kind.REQUEST:
                        self._send(shell, step)
                    case Kind.SETTINGS:
                        read_settings(step.block)
                    case kind:
                        rest = [other for other in steps if other.block.kind is kind]
                        steps = [other for other in steps if other.block.kind is not kind]
                        self._program([step, *rest])

    def _run(self, shell: Shell, step: Step) -> None:
        text = self._live.real(step.block.text)
        self._compare(step, _try(step.block, lambda: shell.run(text)))

    def _program(self, steps: list[Step]) -> None:
        texts = [self._live.real(step.block.text) for step in steps]
        kind, block = steps[0].block.kind, steps[-1].block
        printed = _try(
            block,
            lambda: programs.run(kind, texts, folder=self._folder, environment=self._environment),
        )
        for step, output in zip(steps, printed, strict=True):
            self._compare(step, Result(output=output))

    def _send(self, shell: Shell, step: Step) -> None:
        """Send the request of a block, in which ``$NAME`` is a variable of the shell."""
        text = re.sub(r"\$([A-Z_]+)", lambda name: shell.value(name[1]), step.block.text)
        head, _, body = text.partition("\n\n")
        (method, path), *headers = (line.split(maxsplit=1) for line in head.strip().split("\n"))
        usual = {"Authorization": f"Bearer {self._live.admin_key}"}
        if body.strip():
            usual["Content-Type"] = "application/json"
        answer = httpx.request(
            method,
            self._live.real(f"http://{API}{path}"),
            headers=usual | {name.rstrip(":"): value for name, value in headers},
            content=body.strip() or None,
        )
        lines = [f"{name.title()}: {value}" for name, value in answer.headers.items()]
        status = f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}"
        is_whole = any(block.language == "http" for block in step.shown)
        output = "\n".join([status, *lines, "", answer.text]) if is_whole else answer.text
        refused = (answer.status_code,) if answer.status_code >= 400 else ()
        self._compare(step, Result(output=output, refused=refused))

    def _compare(self, step: Step, result: Result) -> None:
        """Compare the output of a step with the page.

        If a request is refused, the page must show the response.
        """
        printed = self._live.usual(result.output)
        for block in step.shown:
            if not fits(block.text, printed, language=block.language, differs=block.differs):
                message = f"{block.place} shows\n{block.text}\n--- but it is\n{printed}"
                raise WrongPageError(message)
        for status in result.refused:
            if not any(str(status) in block.text for block in step.shown):
                message = (
                    f"{step.block.place}: a request is answered with {status}, and the page shows "
                    f"no such answer:\n{step.block.text}\n--- it printed\n{printed}"
                )
                raise WrongPageError(message)


def read_settings(block: Block) -> None:
    """Read lines of a `.env` file as the service does.

    Raises:
        WrongPageError: The service would not start with these settings.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / ".env"
        path.write_text(block.text)
        found = read_env_file(path)
    try:
        Settings.from_env(_NEEDED | found)
    except SettingsError as error:
        message = f"{block.place}: {error}"
        raise WrongPageError(message) from None
    if not found or any(" #" in value for value in found.values()):
        message = f"{block.place}: a comment needs a line of its own, or it is part of the value"
        raise WrongPageError(message)


def _try(block: Block, act: Callable[[], T]) -> T:
    try:
        return act()
    except BlockError as error:
        message = f"{block.place} failed:\n{block.text}\n--- it printed\n{error}"
        raise WrongPageError(message) from None

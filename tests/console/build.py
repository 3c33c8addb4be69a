"""Build of the web console from the folder `console`.

`make console` writes the result into the Python package.
"""

import sys
from pathlib import Path

from tests.clients import node

BUILT = node.ROOT / "src" / "crm_api" / "console"
STEPS = (("openapi-ts",), ("tsc", "--noEmit"), ("vite", "build", "--logLevel", "warn"))
"""Commands of the build, in order.

They generate the API client from `docs/openapi.json`, check the types, and write the bundle.
"""


class BuildError(Exception):
    """A step of the build failed; the text of the error contains the output of the step."""


def build(folder: Path) -> None:
    """Build the console with the Node of a Python wheel, and replace the content of the folder.

    Raises:
        BuildError: A step of the build failed.
    """
    for program, *arguments in STEPS:
        done = node.run(program, *arguments, cwd=node.CONSOLE, CONSOLE_OUT=str(folder))
        if done.returncode != 0:
            raise BuildError(f"{program} failed:\n{done.stdout}{done.stderr}")


def main() -> int:
    """Install the Node packages if the lock file has changed, then build the console."""
    if node.why_not(node.CONSOLE) is not None:
        node.install(node.CONSOLE)
    if (reason := node.why_not(node.CONSOLE)) is not None:
        sys.stderr.write(f"The console cannot be built: {reason}.\n")
        return 1
    try:
        build(BUILT)
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

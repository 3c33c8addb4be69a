"""`make sbom`: write the bill of materials of the pinned packages, as CycloneDX.

The file is not committed, because it has the content of `requirements.txt` in another form.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.supply.licences import ROOT, licences

COMMAND = (
    *(sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", "requirements.txt"),
    *("--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON", "-o", "-"),
)


def make() -> dict[str, Any]:
    """Return name, version, digests and licence of each package.

    Addresses and paths are left out.
    """
    done = subprocess.run(  # noqa: S603 - our own command
        COMMAND, cwd=ROOT, capture_output=True, text=True, check=True
    )
    made: dict[str, Any] = json.loads(done.stdout)
    made["metadata"].pop("tools", None)
    known = licences()
    for component in made["components"]:
        references = component.pop("externalReferences", ())
        component.pop("description", None)
        component["hashes"] = [digest for one in references for digest in one.get("hashes", ())]
        if licence := known.get(component["name"]):
            component["licenses"] = [{"expression": licence}]
    return made


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(json.dumps(make(), indent=1) + "\n")
    sys.stdout.write(f"{target}\n")

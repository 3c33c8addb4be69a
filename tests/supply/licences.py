"""`python -m tests.supply.licences`: write the page with the licences of the installed packages."""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "licences.md"
LIST = ROOT / "requirements-up.txt"
"""The packages that `make up` installs: the service, the embedded servers, and the build tools."""
FREE = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "PSF-2.0",
    "Unlicense",
    "Zlib",
}
"""Licences under which commercial use, with open or closed source code, requires only that the
notice is kept."""
OF_FILES = {"MPL-2.0", "LGPL-3.0-or-later"}
"""Licences that apply to single files. Changes of these files must be published. Code that only
uses these files need not be published. The LGPL also requires that a person can replace the
library. Every installation of Python packages allows this."""
LICENCE_NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
"""The SPDX id for each name that classifiers and older metadata use."""
READ = {
    "httpx-aiohttp": "BSD-3-Clause",
    "pyrage": "MIT",
}
"""The licence was read in the licence file of the package, because the metadata have its full text
or do not name it."""
ELSEWHERE = {"async-timeout": "Apache-2.0", "colorama": "BSD-3-Clause"}
"""Packages that are installed only on other systems or with other versions of Python. Their
licences were read on the pages of the packages."""
_OPERATOR = re.compile(r"\s+(?:AND|OR|WITH)\s+|[();]|\s*;\s*")
_INTRODUCTION = """\
# Licences

This page lists the packages that `make up` installs, with the licence in the metadata of each
package. crm-api itself has the licence Apache-2.0.

The licences in the first table require only that you keep the licence notice of the package. The
licences in the last section require more.

The command `python -m tests.supply.licences` writes this page. A test fails if the page does not
match the pinned packages. `make audit` fails if a package has a licence that is not allowed.

| package | licence |
| --- | --- |
"""
_OF_FILES = """
## Licences that ask for more

crm-api uses the files of these packages without changes. If you change these files and distribute
them, you must publish your changes under the same licence. This rule does not apply to the code of
crm-api, or to your own code that only uses these packages.

| package | licence |
| --- | --- |
"""


def licences() -> dict[str, str]:
    """Return the licence of each pinned package as an expression of SPDX ids."""
    names = sorted({match[1] for match in re.finditer(r"(?m)^([\w.-]+)==", LIST.read_text())})
    return {name: ELSEWHERE.get(name) or _licence(name) for name in names}


def unfit(found: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence for each package whose licence is unknown or not allowed."""
    wrong = []
    for name, licence in (licences() if found is None else found).items():
        others = set(_parts(licence)) - FREE - OF_FILES
        if others or not licence:
            named = ", ".join(sorted(others)) or "no licence"
            wrong.append(f"{name} has {named}, which is not among the licences that are allowed")
    return wrong


def page() -> str:
    """Return the text that the page of licences must have."""
    rows: dict[bool, list[str]] = defaultdict(list)
    for name, licence in licences().items():
        rows[bool(set(_parts(licence)) & OF_FILES)].append(f"| {name} | {licence} |\n")
    return _INTRODUCTION + "".join(rows[False]) + _OF_FILES + "".join(rows[True])


def _licence(name: str) -> str:
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        return ""
    if name in READ:
        return READ[name]
    if "License-Expression" in metadata:
        return " ".join(metadata["License-Expression"].split())
    prefix = "License :: OSI Approved :: "
    classified = [
        line.removeprefix(prefix)
        for line in metadata.get_all("Classifier") or ()
        if line.startswith(prefix)
    ]
    names: Iterable[str] = classified or metadata.get_all("License") or ()
    return " OR ".join(LICENCE_NAMES.get(one, one) for one in names if one)


def _parts(licence: str) -> list[str]:
    return [part for part in _OPERATOR.split(licence) if part]


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")

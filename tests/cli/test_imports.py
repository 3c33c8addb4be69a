"""Prove that long-running commands do not import modules that they do not need.

Each imported module costs memory and time.
"""

import json
import subprocess
import sys

import pytest

_UNUSED = (
    *("alembic", "mako", "numpy", "scipy", "holidays", "puremagic", "obstore", "rich", "pygments"),
    *("icalendar", "recurring_ical_events"),
    *("opentelemetry.sdk", "opentelemetry.exporter", "crm_api.dev.sandbox", "crm_api.dev.demo"),
)
"""Libraries that a process imports when it first uses them, or never."""
_SUPERVISOR = (
    *("sqlalchemy", "asyncpg", "redis", "arq", "fastapi", "starlette", "uvicorn", "aiohttp"),
    *("httpx", "cryptography", "phonenumbers", "crm_api.app", "crm_api.routers"),
    *("crm_api.workers", "crm_api.domain.messaging", "crm_api.domain.consent"),
)
_START = """
import json, sys
import crm_api.cli
{start}
print(json.dumps([name for name, module in sys.modules.items() if module is not None]))
"""
_SETTINGS = """
from crm_api.platform.settings import Settings
settings = Settings.from_env({
    "CRM_DATABASE_URL": "postgresql://x/y", "CRM_REDIS_URL": "redis://x", "CRM_SECRET_KEY": "k" * 40
})
"""


def modules_after(start: str) -> set[str]:
    """Return the names of all modules that a new process has imported after these statements."""
    argv = [sys.executable, "-c", _START.format(start=start)]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=60)  # noqa: S603 - our own
    return set(json.loads(done.stdout.splitlines()[-1]))


def unwanted_modules(loaded: set[str], unwanted: tuple[str, ...]) -> list[str]:
    """Return the loaded modules that are unwanted, or that belong to an unwanted package."""
    prefixes = tuple(f"{name}." for name in unwanted)
    return sorted(one for one in loaded if one in unwanted or one.startswith(prefixes))


@pytest.mark.parametrize(
    ("start", "unwanted"),
    [
        (f"{_SETTINGS}\nfrom crm_api.cli.serve import create_app\ncreate_app(settings)", _UNUSED),
        ("import crm_api.cli.worker", (*_UNUSED, "fastapi", "starlette", "uvicorn")),
        ("import crm_api.cli.up", (*_UNUSED, *_SUPERVISOR)),
    ],
    ids=["serve", "worker", "up"],
)
def test_command_imports_no_module_that_it_does_not_need(
    start: str, unwanted: tuple[str, ...]
) -> None:
    assert unwanted_modules(modules_after(start), unwanted) == []

"""Configuration of a sandbox."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from crm_api.platform import clock

BANNER = "OpenPhone sandbox: nothing is really sent. Every text stays on this machine."

DEFAULT_SIGNING_KEY = "c2FuZGJveC1rZXktdGhhdC1wcm92ZXMtbm90aGluZyE="
"""For a sandbox that runs alone; `crm-api up` derives a key from its own secret key."""

Post = Callable[[str, bytes, dict[str, str]], Awaitable[int]]
"""Deliver one webhook (address, body, headers); returns the status, raises if unreachable."""


class SigningScheme(StrEnum):
    """How webhooks are signed and shaped."""

    LEGACY = "legacy"
    """v4 shapes; has no event for failed and undelivered messages, like the real provider."""
    STANDARD = "2026-03-30"
    ALTERNATING = "both"
    """Events alternate between the two, each sent once; failures always use 2026-03-30."""


@dataclass(frozen=True, kw_only=True)
class OwnLine:
    """A number of the sandbox's workspace."""

    id: str
    number: str
    name: str


@dataclass(frozen=True, kw_only=True)
class PeopleWeights:
    """Shares of 1 of the people who get a message; the rest only has it delivered.

    A number's share depends on the number and the seed alone, so that a second run meets the same
    people.
    """

    reply: float = 0.12
    stop: float = 0.03
    failed: float = 0.03
    undelivered: float = 0.02


@dataclass(frozen=True, kw_only=True)
class SandboxConfig:
    """Behaviour of a sandbox; everything has a default.

    Attributes:
        webhook_url: Receives every event; None for none. ``POST /v1/webhooks/…`` adds more.
        signing_key: Base64, for ``webhook_url``; both schemes sign with it.
        own_keys: True gives registered hooks keys of their own, as the provider does; False gives
            them ``signing_key``, for receivers that know no other. A rotated key is always new.
        people: ``silent`` people do nothing without a script.
        time_scale: Factor on every delay, also of webhook retries; 0 is at once.
        rate_per_second: Requests per key in any second, else 429; None is no limit.
        list_delay_seconds: Age from which an accepted message is listed.
        journal: File that keeps accepted messages over a restart; None keeps nothing.
        media_url: Address of this sandbox, for the pictures and recordings that its events name;
            without it they cannot be fetched.
        post: Delivers webhooks instead of HTTP, for tests in one process.
    """

    webhook_url: str | None = None
    signing_key: str = DEFAULT_SIGNING_KEY
    own_keys: bool = False
    scheme: SigningScheme = SigningScheme.STANDARD
    people: PeopleWeights | Literal["silent"] = PeopleWeights()
    seed: int = 1
    time_scale: float = 1.0
    delivered_after_seconds: tuple[float, float] = (0.2, 1.5)
    replied_after_seconds: tuple[float, float] = (1.0, 6.0)
    rate_per_second: int | None = 10
    list_delay_seconds: float = 0.0
    webhook_concurrency: int = 8
    webhook_timeout_seconds: float = 10.0
    hang_seconds: float = 600.0
    slow_seconds: float = 2.0
    journal: Path | None = None
    lines: tuple[OwnLine, ...] = (
        OwnLine(id="PNsandbox1", number="+16175550100", name="Sandbox line"),
        OwnLine(id="PNsandbox2", number="+16175550199", name="Second sandbox line"),
    )
    clock: Callable[[], datetime] = clock.now
    media_url: str | None = None
    post: Post | None = None

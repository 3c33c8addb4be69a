"""Configuration of the sandbox."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from crm_api.platform import clock

BANNER = "OpenPhone sandbox: no real messages are sent. All messages stay on this machine."

DEFAULT_SIGNING_KEY = "c2FuZGJveC1rZXktdGhhdC1wcm92ZXMtbm90aGluZyE="
"""Signing key of webhooks that is used if no key is configured. The command `crm-api sandbox` uses
the key from the settings."""

Post = Callable[[str, bytes, dict[str, str]], Awaitable[int]]
"""Function that delivers a webhook (URL, body, headers) and returns the status of the response.

It raises an error if the endpoint cannot be reached.
"""


class SigningScheme(StrEnum):
    """Signature and format of the webhooks that the sandbox sends."""

    LEGACY = "legacy"
    """The provider's older format (v4). It has no events for failed and undelivered messages."""
    STANDARD = "2026-03-30"
    """The format of the provider's API version 2026-03-30."""
    ALTERNATING = "both"
    """Both formats in turn: one event is sent in the older format, the next event in the new
    format.

    An event that does not exist in the older format is always sent in the new format.
    """


@dataclass(frozen=True, kw_only=True)
class OwnLine:
    """A phone line of the company; the sandbox accepts messages that are sent from this line."""

    id: str
    number: str
    name: str


@dataclass(frozen=True, kw_only=True)
class PeopleWeights:
    """The share of the simulated people for each action after a message, from 0 to 1.

    The people to whom no share applies get the message and do nothing. The action of a person
    follows from the phone number and the seed, so it is the same in every run.

    Attributes:
        stop: Share of people who opt out.
        failed: Share of people to whom every message fails.
        undelivered: Share of people to whom every message is sent, but not delivered.
    """

    reply: float = 0.12
    stop: float = 0.03
    failed: float = 0.03
    undelivered: float = 0.02


@dataclass(frozen=True, kw_only=True)
class SandboxConfig:
    """Configuration of a sandbox; every field has a default.

    Attributes:
        webhook_url: URL to which all events are sent. ``POST /v1/webhooks/…`` registers further
            URLs.
        signing_key: The key, in base64, that signs the events to ``webhook_url``. It is the same
            key for each ``scheme``.
        own_keys: True gives each registered webhook its own signing key, as the real provider does.
            False gives it ``signing_key``. A rotation always creates a new key.
        scheme: Format and signature of the events to ``webhook_url``.
        people: The share of simulated people for each action, such as a reply. If ``silent``,
            nothing happens after a message, except that messages to blocked numbers fail. If a
            phone number has a script, the script decides instead.
        seed: Seed of the random decisions.
        time_scale: Factor for all delays, including those of webhook retries; 0 for no delays.
        delivered_after_seconds: Shortest and longest time until a message is delivered.
        replied_after_seconds: Shortest and longest time from the delivery to a reply.
        rate_per_second: Accepted requests per second and API key; None sets no limit.
        list_delay_seconds: Seconds until an accepted message appears in lists.
        webhook_concurrency: Largest number of deliveries that run at the same time.
        hang_seconds: How long the sandbox does not respond to a request with the fault ``hang``.
        slow_seconds: By how many seconds the fault ``slow`` delays a response.
        journal: File that keeps the messages after a restart; None keeps them only in memory.
        media_url: URL of this sandbox, for the files in events; None if they cannot be fetched.
        post: A function that delivers webhooks without HTTP, for tests that run in one process. If
            None, webhooks are delivered over HTTP.
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

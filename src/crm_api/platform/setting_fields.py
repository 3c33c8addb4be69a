"""All settings with their defaults, and values derived from them; ``settings`` reads them."""

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from crm_api.platform.setting_types import (
    DatabaseUrl,
    LogLevel,
    LongSecret,
    LongSecrets,
    MailAddresses,
    MailSender,
    MailServer,
    MediaPlace,
    Origins,
    RedisUrl,
    SigningKeys,
    StartOfTime,
    TrustedProxies,
    WaitsInMinutes,
    WebAddress,
)

REAL_PROVIDER = "https://api.quo.com"
_REAL_HOSTS = frozenset({"api.quo.com", "api.openphone.com"})
SANDBOX_PORT_OFFSET = 1
CALL_START_SECONDS = 1.0
"""Longest time in seconds from the last check of a message to its send request to the provider.

See ``ARCHITECTURE.md``, "Sending, rule 4".
"""
SHORTEST_LEASE_SECONDS = 20
LONGEST_LEASE_SECONDS = 120
"""Longest time in seconds for which a worker may claim (reserve) messages to send: the longest
lease.

A job ends after 90 seconds, and its last request to the provider ends at most 16 seconds later.
With a longer lease, the messages of a dead worker would only wait longer. The code that limits the
number of sent messages also needs a short lease: it assumes that the send request of a claimed
message begins within an hour after the claim.
"""
MAX_SKEW_SECONDS = 2.0
"""Largest accepted difference in seconds between the clocks of worker, provider and database."""


class SettingFields(BaseModel):
    """All settings; each field is read from the environment variable ``CRM_<NAME>``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: DatabaseUrl | None = None
    database_direct_url: DatabaseUrl | None = None
    database_replica_url: DatabaseUrl | None = None
    database_replica_behind_seconds: float = Field(default=5, ge=1, le=300)
    redis_url: RedisUrl | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    drain_seconds: float = Field(default=0, ge=0, le=300)
    data_dir: Path = Path(".crm-data")
    openphone_base_url: WebAddress | None = None
    openphone_api_key: SecretStr | None = None
    openphone_webhook_secrets: SigningKeys = ()
    openphone_rate_per_second: float = Field(default=8, gt=0)
    openphone_sends_media: bool | None = None
    send_lease_seconds: int = 60
    settle_grace_seconds: int | None = Field(default=None, ge=10)
    unclear_sends: Literal["resend", "park"] = "resend"
    bootstrap_api_key: LongSecret | None = None
    secret_key: LongSecret | None = None
    other_secret_keys: LongSecrets = ()
    business_name: str | None = None
    business_contact: str | None = None
    media_url: MediaPlace | None = None
    archive_url: MediaPlace | None = None
    webhook_event_months: int = Field(default=24, ge=2, le=1200)
    activity_months: int | None = Field(default=None, ge=12)
    public_url: WebAddress | None = None
    app_url: WebAddress | None = None
    smtp_url: MailServer | None = None
    alert_emails: MailAddresses = ()
    alert_from: MailSender | None = None
    alert_quiet_minutes: float = Field(default=60, ge=1)
    alert_escalate_hours: float = Field(default=4, gt=0)
    webhook_endpoint_timeout_seconds: float = Field(default=15, ge=1, le=30)
    webhook_endpoint_disable_days: float = Field(default=5, ge=0.5)
    webhook_retry_minutes: WaitsInMinutes = (1, 5, 30, 120, 360, 960)
    health_check_from: str | None = None
    health_check_to: str | None = None
    phone_lookup_url: WebAddress | None = None
    phone_lookup_api_key: SecretStr | None = None
    phone_lookup_daily_budget: int = Field(default=1000, ge=0)
    sandbox_clock: StartOfTime | None = None
    compliance_rules: str | None = None
    cors_origins: Origins = ()
    trusted_proxies: TrustedProxies = ()
    rate_limit_per_second: int = Field(default=100, ge=0)
    event_streams_per_caller: int = Field(default=20, ge=1, le=100_000)
    audit_log_days: int = Field(default=1825, ge=365)
    log_format: Literal["console", "json"] | None = None
    log_level: LogLevel = "info"
    otlp_endpoint: WebAddress | None = None
    worker_metrics_port: int | None = Field(default=None, ge=1, le=65535)
    worker_metrics_socket: Path | None = None

    _secret: bytes | None = PrivateAttr(default=None)

    @property
    def sends_media(self) -> bool:
        """True if files can be sent with messages.

        If the setting ``openphone_sends_media`` is not given, this is true only with the sandbox.
        """
        sends = self.openphone_sends_media
        return self.uses_sandbox if sends is None else sends

    @property
    def uses_sandbox(self) -> bool:
        """True if no API key of the provider is set; then the sandbox simulates the provider."""
        return self.openphone_api_key is None

    @property
    def provider_url(self) -> str:
        """Base URL of the provider's API, without ``/v1`` and without a trailing slash."""
        if self.openphone_base_url is not None:
            return self.openphone_base_url.rstrip("/")
        if self.uses_sandbox:
            return f"http://127.0.0.1:{self.port + SANDBOX_PORT_OFFSET}"
        return REAL_PROVIDER

    @property
    def provider_on_loopback(self) -> bool:
        """True if the provider's URL leads to this machine, as in tests and demos."""
        return is_on_loopback(self.provider_url)

    @property
    def grace_seconds(self) -> float:
        """Seconds until a message whose result is unknown may be treated as not sent.

        The time begins when an attempt sends the message. The provider may show a sent message late
        in its list of messages. So a message that is missing in the list can still have been sent.
        """
        if self.settle_grace_seconds is not None:
            return float(self.settle_grace_seconds)
        return 10.0 if self.uses_sandbox and self.provider_on_loopback else 600.0

    @property
    def call_timeout_seconds(self) -> float:
        """Timeout of a send request in seconds; it includes the wait for a connection."""
        return min(15.0, self.send_lease_seconds / 3, self.grace_seconds / 3)

    @property
    def look_gap_seconds(self) -> float:
        """Minimum seconds between two searches for a message in the provider's list of messages.

        The provider may show a sent message late in this list. So one search is not enough to find
        out that the message was not sent.
        """
        return min(60.0, self.grace_seconds / 2)

    @property
    def rules_name(self) -> str:
        """The legal rules to apply: ``us``, ``none``, or the path of a file with rules."""
        if self.compliance_rules is not None:
            return self.compliance_rules
        return "none" if self.uses_sandbox and self._reaches_no_person else "us"

    @property
    def _reaches_no_person(self) -> bool:
        """True if messages cannot reach a real person.

        This is true if the provider is the sandbox (on any machine) or runs on this machine.
        """
        host = urlsplit(self.provider_url).hostname
        return self.provider_on_loopback or (self.uses_sandbox and host not in _REAL_HOSTS)

    @property
    def alert_sender(self) -> str:
        """Sender address of alert mail.

        The default is ``crm-api@`` and the host of the public URL, such as
        ``crm-api@crm.example.com``.
        """
        host = urlsplit(self.public_base_url).hostname or "localhost"
        return self.alert_from or f"crm-api@{host}"

    @property
    def alert_quiet(self) -> timedelta:
        """Shortest time between two mails about the same alert."""
        return timedelta(minutes=self.alert_quiet_minutes)

    @property
    def alert_escalate_after(self) -> timedelta:
        """Age at which an alert is mailed a second time if nobody has acknowledged it."""
        return timedelta(hours=self.alert_escalate_hours)

    @property
    def webhook_retry_means(self) -> tuple[timedelta, ...]:
        """Average times to wait before a received event that failed is applied again.

        The first value is the wait after the first failed try, the second value is the wait after
        the second failed try, and so on.
        """
        return tuple(timedelta(minutes=wait) for wait in self.webhook_retry_minutes)

    @property
    def public_base_url(self) -> str:
        """URL at which other systems reach this service, without a trailing slash."""
        return (self.public_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def media_location(self) -> Path | str:
        """Where pictures and recordings are stored: a directory, or ``s3://bucket/prefix``."""
        return self.data_dir / "media" if self.media_url is None else _place(self.media_url)

    @property
    def archive_location(self) -> Path | str:
        """Where archives of old rows (one archive per month and table) are stored.

        The default is the folder ``archive`` in the media location.
        """
        if self.archive_url is not None:
            return _place(self.archive_url)
        media = self.media_location
        return media / "archive" if isinstance(media, Path) else f"{media.rstrip('/')}/archive"

    @property
    def provider_webhooks(self) -> str:
        """URL to which the provider sends its webhooks."""
        return f"{self.public_base_url}/webhooks/openphone"


def _place(url: str) -> Path | str:
    if url.startswith("s3://"):
        return url
    return Path(unquote(urlsplit(url).path) if url.startswith("file://") else url)


def is_on_loopback(url: str) -> bool:
    """Return True if the host of a URL is ``localhost`` or a loopback address."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Settings, read once from the environment or a ``.env`` file and handed down."""

import hashlib
import hmac
import ipaddress
from base64 import b64encode
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal, NoReturn, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)

from crm_api.setting_types import (
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
    WaitsInMinutes,
    WebAddress,
)

REAL_PROVIDER = "https://api.quo.com"
_REAL_HOSTS = frozenset({"api.quo.com", "api.openphone.com"})
SANDBOX_PORT_OFFSET = 1
CALL_START_SECONDS = 1.0
"""From the gate's statement to the request body, at most (send-protocol, I4)."""
MAX_SKEW_SECONDS = 2.0
"""How far the clocks of workers, provider and database may differ."""


class SettingsError(Exception):
    """A setting is wrong; the message is one line that names it and says what it takes."""


class Settings(BaseModel):
    """Read once at start and handed down; never a module global.

    Every field is the variable ``CRM_<NAME>``; durations carry their unit in the name.
    """

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
    send_lease_seconds: int = Field(default=60, ge=20)
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
    rate_limit_per_second: int = Field(default=100, ge=0)
    audit_log_days: int = Field(default=1825, ge=365)
    log_format: Literal["console", "json"] | None = None
    log_level: LogLevel = "info"
    otlp_endpoint: WebAddress | None = None
    worker_metrics_port: int | None = Field(default=None, ge=1, le=65535)
    worker_metrics_socket: Path | None = None

    _secret: bytes | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if not self.provider_on_loopback and self.grace_seconds < 120:  # noqa: PLR2004
            msg = "CRM_SETTLE_GRACE_SECONDS takes 120 or more unless the provider is on loopback"
            raise ValueError(msg)
        if self.send_lease_seconds < CALL_START_SECONDS + self.call_timeout_seconds + 10:
            msg = "CRM_SEND_LEASE_SECONDS must be at least call start + call time-out + 10"
            raise ValueError(msg)
        if self.compliance_rules == "none" and not self._texts_nobody:
            msg = "CRM_COMPLIANCE_RULES=none is accepted only with the sandbox or on loopback"
            raise ValueError(msg)
        rules = self.compliance_rules
        if rules not in (None, "none", "us") and not Path(str(rules)).is_file():
            msg = "CRM_COMPLIANCE_RULES takes us, none, or a file of rules that exists"
            raise ValueError(msg)
        if (self.smtp_url is None) != (not self.alert_emails):
            msg = (
                "CRM_SMTP_URL and CRM_ALERT_EMAILS go together: without the other one no alert "
                "would be mailed"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _past_what(self) -> Self:
        if self.database_direct_url is not None and self.database_url is None:
            msg = "CRM_DATABASE_DIRECT_URL is the way past CRM_DATABASE_URL; set that one too"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _clock_is_the_sandboxs(self) -> Self:
        if self.sandbox_clock is not None and not self.uses_sandbox:
            msg = "CRM_SANDBOX_CLOCK is for the sandbox; with a real API key time is what it is"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _lookup_fits(self) -> Self:
        if (self.phone_lookup_url is None) != (self.phone_lookup_api_key is None):
            msg = "CRM_PHONE_LOOKUP_URL and CRM_PHONE_LOOKUP_API_KEY go together"
            raise ValueError(msg)
        url = self.phone_lookup_url
        if url is not None and not url.startswith("https://") and not _is_on_loopback(url):
            msg = "CRM_PHONE_LOOKUP_URL takes https://…: the key goes with each request"
            raise ValueError(msg)
        return self

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read every ``CRM_*`` variable; an unknown one is refused, so a typo cannot pass.

        An empty value counts as unset.

        Raises:
            SettingsError: One line that names the setting and what it takes, never its value.
        """
        values = {
            name.removeprefix("CRM_").lower(): value
            for name, value in env.items()
            if name.startswith("CRM_") and value != ""
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(_one_line(error)) from None

    @classmethod
    def load(cls, env: Mapping[str, str], *, env_file: Path = Path(".env")) -> Self:
        """Read the environment over a ``.env`` file, if there is one.

        Raises:
            SettingsError: As ``from_env``.
        """
        return cls.from_env({**read_env_file(env_file), **env})

    @property
    def uses_sandbox(self) -> bool:
        """True when nothing is really sent: there is no API key."""
        return self.openphone_api_key is None

    @property
    def provider_url(self) -> str:
        """The provider's host without a trailing slash; v1 paths lie under ``/v1``."""
        if self.openphone_base_url is not None:
            return self.openphone_base_url.rstrip("/")
        if self.uses_sandbox:
            return f"http://127.0.0.1:{self.port + SANDBOX_PORT_OFFSET}"
        return REAL_PROVIDER

    @property
    def provider_on_loopback(self) -> bool:
        """True when the provider is on this machine, so times and rules may be relaxed."""
        return _is_on_loopback(self.provider_url)

    @property
    def grace_seconds(self) -> float:
        """Age after which an unclear send may be concluded not to exist."""
        if self.settle_grace_seconds is not None:
            return float(self.settle_grace_seconds)
        return 10.0 if self.uses_sandbox and self.provider_on_loopback else 600.0

    @property
    def call_timeout_seconds(self) -> float:
        """The whole POST, from the pool to the answer (send-protocol, section 3)."""
        return min(15.0, self.send_lease_seconds / 3, self.grace_seconds / 3)

    @property
    def look_gap_seconds(self) -> float:
        """Between two look-ups that both find nothing."""
        return min(60.0, self.grace_seconds / 2)

    @property
    def rules_name(self) -> str:
        """``us``, ``none`` or a file of rules."""
        if self.compliance_rules is not None:
            return self.compliance_rules
        return "none" if self.uses_sandbox and self._texts_nobody else "us"

    @property
    def _texts_nobody(self) -> bool:
        """True with a sandbox, also one on another machine, and with a provider on this one."""
        host = urlsplit(self.provider_url).hostname
        return self.provider_on_loopback or (self.uses_sandbox and host not in _REAL_HOSTS)

    @property
    def alert_sender(self) -> str:
        """The address that alerts come from."""
        host = urlsplit(self.public_base_url).hostname or "localhost"
        return self.alert_from or f"crm-api@{host}"

    @property
    def alert_quiet(self) -> timedelta:
        """How long a mailed alert is silent, however often it happens again."""
        return timedelta(minutes=self.alert_quiet_minutes)

    @property
    def alert_escalate_after(self) -> timedelta:
        """When an alert that nobody has acknowledged is mailed once more."""
        return timedelta(hours=self.alert_escalate_hours)

    @property
    def webhook_retry_means(self) -> tuple[timedelta, ...]:
        """How long to wait on average after the first, second … failure of an event."""
        return tuple(timedelta(minutes=wait) for wait in self.webhook_retry_minutes)

    @property
    def public_base_url(self) -> str:
        """Where the provider reaches this service, without a trailing slash."""
        return (self.public_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def media_location(self) -> Path | str:
        """Where pictures and recordings lie: a directory, or ``s3://bucket/prefix``."""
        return self.data_dir / "media" if self.media_url is None else _place(self.media_url)

    @property
    def archive_location(self) -> Path | str:
        """Where archives of months lie; unset, in a folder of the pictures' place."""
        if self.archive_url is not None:
            return _place(self.archive_url)
        media = self.media_location
        return media / "archive" if isinstance(media, Path) else f"{media.rstrip('/')}/archive"

    @property
    def webhook_address(self) -> str:
        """Where the provider delivers its events."""
        return f"{self.public_base_url}/webhooks/openphone"

    def require_database_url(self) -> str:
        """The database's URL.

        Raises:
            SettingsError: It is unset, and this command brings no database of its own.
        """
        if self.database_url is None:
            raise SettingsError(
                "CRM_DATABASE_URL is not set; give postgresql://…, or run `crm-api up`, "
                "which brings a database of its own"
            )
        return self.database_url

    def require_redis_url(self) -> str:
        """Redis' URL.

        Raises:
            SettingsError: It is unset, and this command brings no Redis of its own.
        """
        if self.redis_url is None:
            raise SettingsError(
                "CRM_REDIS_URL is not set; give redis://…, or run `crm-api up`, "
                "which brings a Redis of its own"
            )
        return self.redis_url

    def knowing(self, secret: bytes) -> Self:
        """Return the same settings with the secret that the database keeps."""
        made = self.model_copy()
        made._secret = secret  # noqa: SLF001 - of its own class, before anyone else has it
        return made

    def require_secret_key(self) -> bytes:
        """What hashes are keyed with and texts are sealed under.

        The secret that the database keeps, once a process has opened it; before that the secret
        key, which is the same as long as it was never replaced.

        Raises:
            SettingsError: There is none.
        """
        return self._secret or self.secret_keys()[0]

    def secret_keys(self) -> tuple[bytes, ...]:
        """The secret key, from the environment or the data directory, and others that are known.

        Raises:
            SettingsError: There is none.
        """
        others = tuple(key.get_secret_value().encode() for key in self.other_secret_keys)
        if self.secret_key is not None:
            return (self.secret_key.get_secret_value().encode(), *others)
        path = self.data_dir / "secret-key"
        try:
            return (path.read_text().strip().encode(), *others)
        except OSError:
            raise SettingsError(
                "CRM_SECRET_KEY is not set and the data directory has no secret-key file; "
                "give any text of 32 characters or more, the same to every process"
            ) from None

    def webhook_secrets(self) -> tuple[str, ...]:
        """The signing keys of the settings; with the sandbox and none set, the sandbox's.

        Empty with a real API key and none set: then only saved keys prove anything.

        Raises:
            SettingsError: The sandbox's key cannot be derived, because there is no secret key.
        """
        if self.openphone_webhook_secrets:
            return tuple(secret.get_secret_value() for secret in self.openphone_webhook_secrets)
        return (self.sandbox_signing_key(),) if self.uses_sandbox else ()

    def refuse_without_signing_key(self) -> NoReturn:
        """Refuse to start with a real API key and no key that proves webhooks.

        Raises:
            SettingsError: Always.
        """
        raise SettingsError(
            "CRM_OPENPHONE_WEBHOOK_SECRETS is needed with a real API key: without a signing key "
            "anyone could post webhooks; `crm-api webhooks register` makes and saves one, or "
            "copy it from the provider's webhook page"
        )

    def sandbox_signing_key(self) -> str:
        """The key with which the sandbox signs, base64, derived from the secret key."""
        digest = hmac.new(self.secret_keys()[0], b"sandbox webhooks", hashlib.sha256).digest()
        return b64encode(digest).decode()


def _place(url: str) -> Path | str:
    if url.startswith("s3://"):
        return url
    return Path(unquote(urlsplit(url).path) if url.startswith("file://") else url)


def _is_on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_env_file(path: Path) -> dict[str, str]:
    """Read ``NAME=value`` lines; comments, blank lines and quotes round a value are allowed."""
    if not path.is_file():
        return {}
    values: dict[str, str] = {}
    for raw in path.read_text().splitlines():
        line = raw.strip().removeprefix("export ").strip()
        if not line or line.startswith("#") or "=" not in line:
            continue
        name, _, value = line.partition("=")
        values[name.strip()] = value.strip().strip("\"'")
    return values


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"CRM_{str(first['loc'][0]).upper()} is no setting of this program"
    if not first["loc"]:
        return message
    return f"CRM_{str(first['loc'][0]).upper()}: {message}"

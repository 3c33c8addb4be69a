"""Settings, read once from the environment or a ``.env`` file and handed down."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, Self

from pydantic import ValidationError, model_validator

from crm_api.setting_fields import (
    CALL_START_SECONDS,
    SettingFields,
    is_on_loopback,
)


class SettingsError(Exception):
    """A setting is wrong; the message is one line that names it and says what it takes."""


class Settings(SettingFields):
    """Read once at start and handed down; never a module global."""

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
        if url is not None and not url.startswith("https://") and not is_on_loopback(url):
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

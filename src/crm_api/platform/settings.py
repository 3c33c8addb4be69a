"""Read the settings from the environment and a ``.env`` file, and validate them."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, Self

from pydantic import ValidationError, model_validator

from crm_api.platform.server_programs import advise_up
from crm_api.platform.setting_fields import (
    LONGEST_LEASE_SECONDS,
    SHORTEST_LEASE_SECONDS,
    SettingFields,
    is_on_loopback,
)


class SettingsError(Exception):
    """A setting is wrong; the message is one line with the setting's name and accepted values."""


class Settings(SettingFields):
    """All settings, validated. They are read once at the start and passed on as an argument."""

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if not self.provider_on_loopback and self.grace_seconds < 120:  # noqa: PLR2004
            raise ValueError(
                "CRM_SETTLE_GRACE_SECONDS must be at least 120, unless the provider is on loopback"
            )
        if not SHORTEST_LEASE_SECONDS <= self.send_lease_seconds <= LONGEST_LEASE_SECONDS:
            raise ValueError(
                f"CRM_SEND_LEASE_SECONDS must be {SHORTEST_LEASE_SECONDS} to "
                f"{LONGEST_LEASE_SECONDS}; a shorter lease could end during a request to the "
                "provider, and with a longer lease the messages of a dead worker would wait longer"
            )
        if self.compliance_rules == "none" and not self._reaches_no_person:
            raise ValueError(
                "CRM_COMPLIANCE_RULES=none is accepted only if the provider is the sandbox or runs "
                "on this machine (loopback)"
            )
        rules = self.compliance_rules
        if rules not in (None, "none", "us") and not Path(str(rules)).is_file():
            raise ValueError(
                "CRM_COMPLIANCE_RULES must be us, none, or the path of an existing file of rules"
            )
        if (self.smtp_url is None) != (not self.alert_emails):
            raise ValueError(
                "CRM_SMTP_URL and CRM_ALERT_EMAILS must be set together, because alert mail needs "
                "both"
            )
        return self

    @model_validator(mode="after")
    def _direct_url_fits(self) -> Self:
        if self.database_direct_url is not None and self.database_url is None:
            raise ValueError("CRM_DATABASE_DIRECT_URL is set without CRM_DATABASE_URL; set both")
        return self

    @model_validator(mode="after")
    def _clock_is_the_sandboxs(self) -> Self:
        if self.sandbox_clock is not None and not self.uses_sandbox:
            raise ValueError(
                "CRM_SANDBOX_CLOCK works only with the sandbox; unset it, because an API key is set"
            )
        return self

    @model_validator(mode="after")
    def _lookup_fits(self) -> Self:
        if (self.phone_lookup_url is None) != (self.phone_lookup_api_key is None):
            raise ValueError(
                "CRM_PHONE_LOOKUP_URL and CRM_PHONE_LOOKUP_API_KEY must be set together"
            )
        url = self.phone_lookup_url
        if url is not None and not url.startswith("https://") and not is_on_loopback(url):
            raise ValueError(
                "CRM_PHONE_LOOKUP_URL must be https://…, because each request contains the API key"
            )
        return self

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read every ``CRM_*`` variable; refuse unknown names, because they may be misspelt.

        An empty value counts as unset.

        Raises:
            SettingsError: A setting is wrong or unknown. The message is one line with the
                setting's name and the accepted values. It never contains the given value.
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
        """Read the settings from ``env`` and the ``.env`` file.

        If both contain the same variable, its value in ``env`` is used.

        Raises:
            SettingsError: A setting is wrong or unknown; see ``from_env``.
        """
        return cls.from_env({**read_env_file(env_file), **env})

    def require_database_url(self) -> str:
        """Return ``CRM_DATABASE_URL``.

        Raises:
            SettingsError: This setting is not set.
        """
        if self.database_url is None:
            up = advise_up(", or run `crm-api up`, which starts a database of its own")
            raise SettingsError(f"CRM_DATABASE_URL is not set; set it to postgresql://…{up}")
        return self.database_url

    def require_redis_url(self) -> str:
        """Return ``CRM_REDIS_URL``.

        Raises:
            SettingsError: This setting is not set.
        """
        if self.redis_url is None:
            up = advise_up(", or run `crm-api up`, which starts a Redis of its own")
            raise SettingsError(f"CRM_REDIS_URL is not set; set it to redis://…{up}")
        return self.redis_url

    def knowing(self, secret: bytes) -> Self:
        """Return a copy of these settings that contains the root secret.

        The root secret is the first secret key that the service used.

        Args:
            secret: The root secret, which the caller has read from the database.
        """
        made = self.model_copy()
        made._secret = secret  # noqa: SLF001 - its own class, and the object is not shared yet
        return made

    def require_secret_key(self) -> bytes:
        """Return the root secret if these settings contain it, else the current secret key.

        The root secret is the first secret key that this service used; the database stores it. Only
        settings that the method ``knowing`` returned contain the root secret.

        Raises:
            SettingsError: No secret key is set.
        """
        return self._secret or self.secret_keys()[0]

    def secret_keys(self) -> tuple[bytes, ...]:
        """Return all secret keys: the current key, then the keys of ``CRM_OTHER_SECRET_KEYS``.

        The current key comes from ``CRM_SECRET_KEY``, else from the data directory.

        Raises:
            SettingsError: There is no secret key.
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
                "set it to any text of 32 characters or more, the same for every process"
            ) from None

    def webhook_secrets(self) -> tuple[str, ...]:
        """Return the signing keys in ``CRM_OPENPHONE_WEBHOOK_SECRETS``.

        If this setting is empty and the sandbox is used, return the sandbox's key. If this setting
        is empty and the sandbox is not used, return no key. Keys in the database are not returned.

        Raises:
            SettingsError: The sandbox's key cannot be derived, because there is no secret key.
        """
        if self.openphone_webhook_secrets:
            return tuple(secret.get_secret_value() for secret in self.openphone_webhook_secrets)
        return (self.sandbox_signing_key(),) if self.uses_sandbox else ()

    def refuse_without_signing_key(self) -> NoReturn:
        """Raise the error for a service that has a real API key but no signing key for webhooks.

        This function checks nothing. The caller has already checked that the API key is set and the
        signing key is missing.

        Raises:
            SettingsError: Always; the message says how to get a signing key.
        """
        raise SettingsError(
            "CRM_OPENPHONE_WEBHOOK_SECRETS is needed with a real API key, because without a "
            "signing key anyone could send webhooks; run `crm-api webhooks register`, which "
            "creates and stores a key, or copy the key from the provider's webhook page"
        )

    def sandbox_signing_key(self) -> str:
        """Return, as base64 text, the key with which the sandbox signs webhooks.

        The key is derived from the secret key, so the service and the sandbox compute the same key.
        """
        digest = hmac.new(self.secret_keys()[0], b"sandbox webhooks", hashlib.sha256).digest()
        return b64encode(digest).decode()

    def first_owner_tokens(self) -> tuple[str, ...]:
        """Return the tokens for the link with which the first user (the owner) is created.

        There is one token for each secret key; ``crm-api up`` prints the first token. A token works
        only while there is no user.

        Raises:
            SettingsError: There is no secret key.
        """
        return tuple(
            hmac.new(secret, b"first owner", hashlib.sha256).hexdigest()
            for secret in self.secret_keys()
        )


def read_env_file(path: Path) -> dict[str, str]:
    """Return the ``NAME=value`` lines of a file; empty if the file does not exist.

    Comments, blank lines, ``export`` and quotes around a value are allowed.
    """
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
        return f"CRM_{str(first['loc'][0]).upper()} is not a setting of this program"
    if not first["loc"]:
        return message
    return f"CRM_{str(first['loc'][0]).upper()}: {message}"

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crm_api.platform.settings import Settings, SettingsError, read_env_file

KEY = "0123456789abcdef0123456789abcdef"


def message(**values: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({f"CRM_{name.upper()}": value for name, value in values.items()})
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"port": "eighty"}, "CRM_PORT"),
        ({"port": "70000"}, "CRM_PORT"),
        ({"database_url": "mysql://db/crm"}, "CRM_DATABASE_URL"),
        ({"redis_url": "http://redis"}, "CRM_REDIS_URL"),
        ({"openphone_webhook_secrets": "!!"}, "CRM_OPENPHONE_WEBHOOK_SECRETS"),
        ({"openphone_rate_per_second": "0"}, "CRM_OPENPHONE_RATE_PER_SECOND"),
        ({"send_lease_seconds": "1"}, "CRM_SEND_LEASE_SECONDS"),
        ({"unclear_sends": "retry"}, "CRM_UNCLEAR_SENDS"),
        ({"openphone_sends_media": "perhaps"}, "CRM_OPENPHONE_SENDS_MEDIA"),
        ({"bootstrap_api_key": "short"}, "CRM_BOOTSTRAP_API_KEY"),
        ({"secret_key": "short"}, "CRM_SECRET_KEY"),
        ({"log_format": "xml"}, "CRM_LOG_FORMAT"),
        ({"log_level": "loud"}, "CRM_LOG_LEVEL"),
        ({"compliance_rules": "/no/such/file"}, "CRM_COMPLIANCE_RULES"),
        ({"postgres_url": "x"}, "CRM_POSTGRES_URL"),
        ({"media_url": "ftp://host/media"}, "CRM_MEDIA_URL"),
        ({"media_url": "s3://"}, "CRM_MEDIA_URL"),
        ({"media_url": "file://host/media"}, "CRM_MEDIA_URL"),
        ({"media_url": "file://media"}, "CRM_MEDIA_URL"),
        ({"smtp_url": "http://mail", "alert_emails": "a@b.test"}, "CRM_SMTP_URL"),
        ({"smtp_url": "smtp://mail:port", "alert_emails": "a@b.test"}, "CRM_SMTP_URL"),
        ({"smtp_url": "smtp://mail"}, "CRM_ALERT_EMAILS"),
        ({"alert_emails": "a@b.test"}, "CRM_SMTP_URL"),
        ({"smtp_url": "smtp://mail", "alert_emails": "a@b.test, nobody"}, "CRM_ALERT_EMAILS"),
        ({"alert_from": "Granite"}, "CRM_ALERT_FROM"),
        ({"alert_quiet_minutes": "0"}, "CRM_ALERT_QUIET_MINUTES"),
        ({"webhook_retry_minutes": "1,soon"}, "CRM_WEBHOOK_RETRY_MINUTES"),
        ({"webhook_retry_minutes": "1,-5"}, "CRM_WEBHOOK_RETRY_MINUTES"),
        ({"webhook_retry_minutes": ","}, "CRM_WEBHOOK_RETRY_MINUTES"),
        ({"phone_lookup_url": "https://lookup.test"}, "CRM_PHONE_LOOKUP_API_KEY"),
        ({"phone_lookup_api_key": "secret"}, "CRM_PHONE_LOOKUP_URL"),
        (
            {"phone_lookup_url": "http://lookup.test", "phone_lookup_api_key": "secret"},
            "CRM_PHONE_LOOKUP_URL",
        ),
        ({"phone_lookup_url": "lookup", "phone_lookup_api_key": "k"}, "CRM_PHONE_LOOKUP_URL"),
        ({"phone_lookup_daily_budget": "-1"}, "CRM_PHONE_LOOKUP_DAILY_BUDGET"),
    ],
)
def test_invalid_value_gives_one_line_that_names_the_setting(
    values: dict[str, str], names: str
) -> None:
    line = message(**values)

    assert names in line
    assert "\n" not in line


@pytest.mark.parametrize("name", ["bootstrap_api_key", "secret_key", "openphone_webhook_secrets"])
def test_message_never_shows_a_secret(name: str) -> None:
    assert "hunter2!" not in message(**{name: "hunter2!"})


def test_retry_schedule_is_six_attempts_over_a_day_unless_set() -> None:
    default = Settings.from_env({}).webhook_retry_means
    asked = Settings.from_env({"CRM_WEBHOOK_RETRY_MINUTES": "0.5, 10"}).webhook_retry_means

    assert default == tuple(timedelta(minutes=wait) for wait in (1, 5, 30, 120, 360, 960))
    assert len(default) == 6
    assert timedelta(hours=20) < sum(default, timedelta()) < timedelta(hours=28)
    assert asked == (timedelta(seconds=30), timedelta(minutes=10))


def test_alert_sender_is_the_service_unless_set() -> None:
    assert Settings.from_env({}).alert_sender == "crm-api@127.0.0.1"
    public = Settings.from_env({"CRM_PUBLIC_URL": "https://crm.example.com"})
    assert public.alert_sender == "crm-api@crm.example.com"
    assert Settings.from_env({"CRM_ALERT_FROM": "a@b.test"}).alert_sender == "a@b.test"


def test_empty_value_counts_as_unset() -> None:
    settings = Settings.from_env({"CRM_DATABASE_URL": "", "CRM_OPENPHONE_API_KEY": ""})

    assert settings.database_url is None
    assert settings.uses_sandbox


@pytest.mark.parametrize(
    ("media_url", "location"),
    [
        ("", Path("/var/crm/media")),
        ("/srv/media", Path("/srv/media")),
        ("files", Path("files")),
        ("file:///srv/my%20media", Path("/srv/my media")),
        ("file://localhost/srv/media", Path("/srv/media")),
        ("s3://bucket/of/pictures", "s3://bucket/of/pictures"),
    ],
)
def test_media_location_follows_the_setting(media_url: str, location: Path | str) -> None:
    settings = Settings.from_env({"CRM_MEDIA_URL": media_url, "CRM_DATA_DIR": "/var/crm"})

    assert settings.media_location == location


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_postgres_scheme_is_accepted(scheme: str) -> None:
    settings = Settings.from_env({"CRM_DATABASE_URL": f"{scheme}://u:p@db/crm"})

    assert settings.database_url == "postgresql+asyncpg://u:p@db/crm"


def test_real_key_without_signing_keys_does_not_accept_the_sandbox_key() -> None:
    settings = Settings.from_env({"CRM_OPENPHONE_API_KEY": "a real key", "CRM_SECRET_KEY": KEY})

    assert settings.webhook_secrets() == ()
    with pytest.raises(SettingsError, match="CRM_OPENPHONE_WEBHOOK_SECRETS is needed"):
        settings.refuse_without_signing_key()


def test_real_key_selects_the_real_provider() -> None:
    settings = Settings.from_env(
        {"CRM_OPENPHONE_API_KEY": "a real key", "CRM_OPENPHONE_WEBHOOK_SECRETS": "c2VjcmV0LWtleQ=="}
    )

    assert not settings.uses_sandbox
    assert settings.provider_url == "https://api.quo.com"
    assert settings.rules_name == "us"
    assert settings.grace_seconds == 600


def test_sandbox_without_a_key_uses_the_port_after_the_api() -> None:
    settings = Settings.from_env({"CRM_PORT": "9000"})

    assert settings.provider_url == "http://127.0.0.1:9001"
    assert settings.rules_name == "none"
    assert settings.grace_seconds == 10


def test_sandbox_in_another_container_has_no_legal_rules() -> None:
    elsewhere = Settings.from_env({"CRM_OPENPHONE_BASE_URL": "http://sandbox:8001"})

    assert elsewhere.rules_name == "none"
    assert elsewhere.grace_seconds == 600
    assert Settings.from_env({"CRM_OPENPHONE_BASE_URL": "https://api.quo.com"}).rules_name == "us"


@pytest.mark.parametrize(
    "provider",
    [
        {"openphone_base_url": "https://api.quo.com"},
        {"openphone_base_url": "http://sandbox:8001", "openphone_api_key": "a real key"},
    ],
    ids=["real host", "real key"],
)
def test_rules_none_are_refused_if_real_people_can_get_messages(provider: dict[str, str]) -> None:
    line = message(compliance_rules="none", **provider)

    assert "CRM_COMPLIANCE_RULES" in line


def test_short_grace_is_refused_against_a_real_host() -> None:
    line = message(settle_grace_seconds="30", openphone_base_url="https://api.quo.com")

    assert "CRM_SETTLE_GRACE_SECONDS" in line


def test_lists_are_split_at_commas() -> None:
    settings = Settings.from_env({"CRM_CORS_ORIGINS": "https://a.example, https://b.example,"})

    assert settings.cors_origins == ("https://a.example", "https://b.example")


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('# ours\nexport CRM_PORT="9001"\nCRM_HOST=0.0.0.0\n\nnonsense\n')

    settings = Settings.load({"CRM_PORT": "9002"}, env_file=file)

    assert settings.port == 9002
    assert settings.host == "0.0.0.0"  # noqa: S104 - read, not bound


def test_missing_file_has_no_settings(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env") == {}


def test_secret_key_is_read_from_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text(f"{KEY}\n")

    assert Settings(data_dir=tmp_path).require_secret_key() == KEY.encode()


def test_missing_secret_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="CRM_SECRET_KEY"):
        Settings(data_dir=tmp_path).require_secret_key()


def test_missing_servers_say_what_to_do() -> None:
    settings = Settings()

    with pytest.raises(SettingsError, match="CRM_DATABASE_URL"):
        settings.require_database_url()
    with pytest.raises(SettingsError, match="CRM_REDIS_URL"):
        settings.require_redis_url()


def test_sandbox_signs_with_a_derived_key(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text(KEY)
    settings = Settings(data_dir=tmp_path)

    assert settings.webhook_secrets() == (settings.sandbox_signing_key(),)
    assert KEY not in settings.sandbox_signing_key()


def test_sandbox_clock_is_an_instant() -> None:
    settings = Settings.from_env({"CRM_SANDBOX_CLOCK": "2030-03-04T08:00:00-05:00"})

    assert settings.sandbox_clock == datetime(2030, 3, 4, 13, tzinfo=UTC)


@pytest.mark.parametrize("value", ["tomorrow", "2030-03-04T08:00:00", "x600", "0001-01-01T00:00Z"])
def test_invalid_sandbox_clock_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="CRM_SANDBOX_CLOCK: must be a time"):
        Settings.from_env({"CRM_SANDBOX_CLOCK": value})


def test_sandbox_clock_is_refused_with_a_real_key() -> None:
    with pytest.raises(SettingsError, match="CRM_SANDBOX_CLOCK works only with the sandbox"):
        Settings.from_env(
            {"CRM_SANDBOX_CLOCK": "2030-03-04T08:00:00Z", "CRM_OPENPHONE_API_KEY": "k"}
        )

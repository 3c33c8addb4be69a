"""Types of settings; each checks its value, and its error message says what is accepted."""

import ipaddress
import re
from base64 import b64decode
from binascii import Error as Base64Error
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from crm_api.platform.redis_server import RedisServer, require_file

SHORTEST_SECRET = 32
SHORTEST_SIGNING_KEY_BYTES = 8
"""Shortest accepted signing key of webhooks, in bytes. A shorter key could be guessed."""
LONGEST_RETRY_MINUTES = 7 * 24 * 60.0
_YEARS = range(2000, 3000)
_ADDRESS = re.compile(r"[^@\s<>,]+@[^@\s<>,]+")
_DATABASE_SCHEMES = ("postgresql+asyncpg://", "postgresql://", "postgres://")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSL_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _lowered(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _database(value: str) -> str:
    for prefix in _DATABASE_SCHEMES:
        if value.startswith(prefix):
            address, mark, query = value.removeprefix(prefix).partition("?")
            return f"postgresql+asyncpg://{address}{mark}{_database_query(query)}"
    raise ValueError("must be postgresql://user:password@host/database")


def _database_query(query: str) -> str:
    """Check the TLS options of a database URL, and rename SQLAlchemy's ``ssl`` to ``sslmode``."""
    values = dict(parse_qsl(query))
    if "ssl" in values:
        values["sslmode"] = values.pop("ssl")
        query = urlencode(values, safe="/", quote_via=quote)
    if values.get("sslmode", _SSL_MODES[0]) not in _SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(_SSL_MODES)}")
    for name in _SSL_FILES:
        if name in values:
            require_file(name, values[name])
    return query


def _redis(value: str) -> str:
    RedisServer.from_url(value)
    return value


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < SHORTEST_SECRET:
        raise ValueError(f"must have at least {SHORTEST_SECRET} characters")
    return value


def _place_for_media(value: str) -> str:
    if "://" not in value:
        return value
    parts = urlsplit(value)
    is_bucket = parts.scheme == "s3" and bool(parts.hostname)
    is_local = parts.scheme == "file" and parts.netloc in {"", "localhost"}
    if not is_bucket and not (is_local and parts.path.startswith("/")):
        raise ValueError("must be one of: a directory, file:///directory, s3://bucket/prefix")
    return value


def _web_address(value: str) -> str:
    if not _is_web_address(value):
        raise ValueError("must be an address like https://crm.example.com")
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(origin == "*" or _is_web_address(origin) for origin in value):
        raise ValueError("must be origins like https://app.example.com, separated by commas")
    return value


def _proxies(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the trusted proxies as networks; an address becomes, for example, ``10.0.0.5/32``.

    Raises:
        ValueError: A value is not an address or network, or a network contains all addresses. If
            all addresses were trusted, any caller could pretend to have any address.
    """
    networks = []
    for text in value:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            network = None
        if network is None or network.prefixlen == 0:
            raise ValueError(
                "must be addresses and networks of proxies like 10.0.0.5,10.1.0.0/16, separated by "
                "commas; 0.0.0.0/0 and ::/0 are refused, because then any caller could pretend to "
                "have any address"
            )
        networks.append(str(network))
    return tuple(networks)


def _mail_server(value: SecretStr) -> SecretStr:
    if not _is_mail_server(value.get_secret_value()):
        raise ValueError(
            "must be smtp://user:password@host:port or smtps://user:password@host:port"
        )
    return value


def _mail_addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_ADDRESS.fullmatch(address) for address in value):
        raise ValueError("must be addresses like owner@example.com, separated by commas")
    return value


def _mail_sender(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError("must be an address like alerts@example.com")
    return value


def _waits(value: tuple[float, ...]) -> tuple[float, ...]:
    if not value or not all(0 < wait <= LONGEST_RETRY_MINUTES for wait in value):
        raise ValueError(
            "must be the minutes between tries, such as 1,5,30,120,360,960; each above 0 and at "
            f"most {LONGEST_RETRY_MINUTES:.0f}"
        )
    return value


def _decodable(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for secret in value:
        try:
            key = b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)
        except (Base64Error, ValueError):
            key = b""
        if len(key) < SHORTEST_SIGNING_KEY_BYTES:
            raise ValueError("must be signing keys in base64 or whsec_…, separated by commas")
    return value


def _start_of_time(value: object) -> datetime:
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or instant.year not in _YEARS:
        raise ValueError("must be a time with a time zone, such as 2026-12-01T15:00:00Z")
    return instant.astimezone(UTC)


def _is_mail_server(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"smtp", "smtps"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port in the URL is not a valid number
        return False


def _is_web_address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(_split)]
DatabaseUrl = Annotated[str, AfterValidator(_database)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lowered)]
LongSecret = Annotated[SecretStr, AfterValidator(_long_enough)]
LongSecrets = Annotated[tuple[LongSecret, ...], BeforeValidator(_split)]
MailAddresses = Annotated[CommaSeparated, AfterValidator(_mail_addresses)]
MailSender = Annotated[str, AfterValidator(_mail_sender)]
MailServer = Annotated[SecretStr, AfterValidator(_mail_server)]
MediaPlace = Annotated[str, AfterValidator(_place_for_media)]
Origins = Annotated[CommaSeparated, AfterValidator(_origins)]
RedisUrl = Annotated[str, AfterValidator(_redis)]
SigningKeys = Annotated[tuple[SecretStr, ...], BeforeValidator(_split), AfterValidator(_decodable)]
TrustedProxies = Annotated[CommaSeparated, AfterValidator(_proxies)]
StartOfTime = Annotated[datetime, BeforeValidator(_start_of_time)]
WaitsInMinutes = Annotated[tuple[float, ...], BeforeValidator(_split), AfterValidator(_waits)]
WebAddress = Annotated[str, AfterValidator(_web_address)]

"""Parse the URL of Redis into connection parameters that both client libraries use."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

_SCHEMES = ("redis", "rediss", "unix")
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_CHOICES = {"ssl_cert_reqs": ("required", "none"), "ssl_check_hostname": ("true", "false")}
_TAKES = (
    "must be redis://user:password@host:port/0, rediss://… or unix:///path; write special "
    "characters of the password as %-escapes"
)


@dataclass(frozen=True, kw_only=True)
class RedisServer:
    """Connection parameters of a Redis server, parsed from its URL.

    Attributes:
        host: Host name; not used with a socket.
        port: TCP port; not used with a socket.
        socket: Path of a Unix socket; None for TCP.
        username: Name of the user; None for the default user.
        password: The password; None if the URL contains none.
        tls: TLS arguments of ``redis.asyncio.SSLConnection``; None without TLS. Certificate and
            host name are checked unless the URL disables a check.
    """

    host: str
    port: int
    socket: str | None
    database: int
    username: str | None
    password: str | None
    tls: dict[str, Any] | None

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return the connection parameters in the URL of a Redis server.

        This function parses the URL, because the client libraries of Redis differ: in how they
        decode %-escapes, and in how they check certificates.

        Raises:
            ValueError: The URL is wrong; the message is one line that says what is accepted.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(_TAKES) from None
        is_socket = parts.scheme == "unix"
        query = dict(parse_qsl(parts.query))
        database = query.pop("db", "" if is_socket else parts.path.strip("/")) or "0"
        if parts.scheme not in _SCHEMES or not database.isdecimal() or (is_socket and query):
            raise ValueError(_TAKES)
        return cls(
            host=parts.hostname or "localhost",
            port=port or 6379,
            socket=unquote(parts.path) if is_socket else None,
            database=int(database),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=_read_tls(query, has_tls=parts.scheme == "rediss"),
        )


def _read_tls(query: dict[str, str], *, has_tls: bool) -> dict[str, Any] | None:
    if not has_tls:
        if query:
            raise ValueError(f"{next(iter(query))} is accepted only with rediss://")
        return None
    for name, value in query.items():
        if name in _FILES:
            require_file(name, value)
        elif value not in _CHOICES.get(name, ()):
            known = ", ".join((*_FILES, *_CHOICES))
            raise ValueError(
                f"{name}={value} is not accepted; the query of a rediss:// URL may contain {known}"
            )
    is_checked = query.get("ssl_cert_reqs") != "none"
    has_name = query.pop("ssl_check_hostname", "true") == "true"
    return {"ssl_cert_reqs": "required", **query, "ssl_check_hostname": is_checked and has_name}


def require_file(name: str, path: str) -> None:
    """Check that this process can read the file that is named in an option of a URL.

    Args:
        name: Name of the option, for the message.
        path: Path of the file.

    Raises:
        ValueError: The file cannot be read; the message is one line with the name of the option.
    """
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"{name}: {path} cannot be read ({error.strerror})") from None

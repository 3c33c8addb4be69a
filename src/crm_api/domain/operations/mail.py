"""Mail through an SMTP server: encrypted wherever there is a password to protect."""

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import unquote, urlsplit

import aiosmtplib

from crm_api.domain.operations.errors import MailNotSentError

TIMEOUT_SECONDS = 20.0
"""For connecting and for each answer; well within the time that a claim of news is held."""
PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, kw_only=True)
class MailServer:
    """Where mail is handed in.

    Attributes:
        use_tls: From the first byte (``smtps``).
        start_tls: True: or nothing is sent; None: if the server offers it.
    """

    host: str
    port: int
    use_tls: bool
    start_tls: bool | None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_server(url: str) -> MailServer:
    """Read ``smtp://user:password@host:587`` or ``smtps://…``; reserved characters as ``%40``.

    A password never goes over a network unencrypted: with one, ``smtp`` insists on STARTTLS.

    Raises:
        ValueError: It is no such address.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("takes smtp://user:password@host:port or smtps://…")
    has_password = parts.password is not None
    use_tls = parts.scheme == "smtps"
    insists = has_password and not _is_loopback(parts.hostname)
    return MailServer(
        host=parts.hostname,
        port=parts.port or PORTS[parts.scheme],
        use_tls=use_tls,
        start_tls=False if use_tls else (True if insists else None),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password is not None else None,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Mailer:
    """Sends plain texts from one address to a fixed few."""

    def __init__(
        self,
        server: MailServer,
        *,
        sender: str,
        recipients: Sequence[str],
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self._server = server
        self._sender = sender
        self._recipients = list(recipients)
        self._tls_context = tls_context

    async def send(
        self, *, subject: str, body: str, now: datetime, to: Sequence[str] | None = None
    ) -> None:
        """Hand in one mail to all recipients; it is sent when one of them is accepted.

        Args:
            subject: One line.
            body: Plain text.
            now: The mail's date.
            to: Whom instead of the fixed few.

        Raises:
            MailNotSentError: The server is away or takes it for none of them.
        """
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = self._sender
        message["To"] = ", ".join(to or self._recipients)
        message["Date"] = format_datetime(now)
        message["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2].rstrip(">"))
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body)
        try:
            async with self._client() as client:
                await client.send_message(message)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise _not_sent(error) from error

    async def check(self) -> None:
        """Connect and log in, and send nothing.

        Raises:
            MailNotSentError: That did not work.
        """
        try:
            async with self._client() as client:
                await client.noop()
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise _not_sent(error) from error

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.use_tls,
            start_tls=server.start_tls,
            timeout=TIMEOUT_SECONDS,
            tls_context=self._tls_context,
        )


def _not_sent(error: BaseException) -> MailNotSentError:
    said = " ".join(str(error).split()) or "no answer"
    return MailNotSentError(f"{type(error).__name__}: {said}"[:300])

"""Send mail through an SMTP server, always encrypted when there is a password to protect."""

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import unquote, urlsplit

import aiosmtplib

from crm_api.domain.kit.errors import TransientError
from crm_api.platform.settings import Settings

TIMEOUT_SECONDS = 20.0
"""For connecting and for each answer; well below ``notices.CLAIM_SECONDS``."""
PORTS = {"smtp": 587, "smtps": 465}


class MailNotSentError(TransientError):
    """The mail server could not be reached, or did not accept the mail."""

    code = "mail_not_sent"
    title = "Mail not sent"


@dataclass(frozen=True, kw_only=True)
class MailServer:
    """The SMTP server that accepts outgoing mail.

    Attributes:
        use_tls: Use TLS from the first byte (``smtps``).
        start_tls: True: require STARTTLS; None: use it if the server offers it; False: never.
    """

    host: str
    port: int
    use_tls: bool
    start_tls: bool | None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_server(url: str) -> MailServer:
    """Read ``smtp://user:password@host:587`` or ``smtps://…``.

    Reserved characters in the user and password are percent-encoded (``%40``). A password is never
    sent over a network unencrypted: with one, ``smtp`` requires STARTTLS unless the host is
    loopback.

    Raises:
        ValueError: The scheme or the host is missing or not supported.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("takes smtp://user:password@host:port or smtps://…")
    has_password = parts.password is not None
    use_tls = parts.scheme == "smtps"
    needs_tls = has_password and not _is_loopback(parts.hostname)
    return MailServer(
        host=parts.hostname,
        port=parts.port or PORTS[parts.scheme],
        use_tls=use_tls,
        start_tls=False if use_tls else (True if needs_tls else None),
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
    """Sends plain-text mail from one address to a fixed list of recipients."""

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
        """Send one mail to all recipients; it counts as sent if the server accepts one of them.

        Args:
            subject: One line.
            body: Plain text.
            now: The mail's date.
            to: Recipients to use instead of the fixed list.

        Raises:
            MailNotSentError: The server is not available or accepts no recipient.
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
        """Connect and log in without sending anything.

        Raises:
            MailNotSentError: The server is not available or refuses the login.
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
    message = " ".join(str(error).split()) or "no answer"
    return MailNotSentError(f"{type(error).__name__}: {message}"[:300])


def open_mailer(settings: Settings) -> Mailer | None:
    """Make the mailer without connecting; None when mail is not set up."""
    if settings.smtp_url is None or not settings.alert_emails:
        return None
    return Mailer(
        parse_server(settings.smtp_url.get_secret_value()),
        sender=settings.alert_sender,
        recipients=settings.alert_emails,
    )

"""Send mail through an SMTP server. A password is sent only over an encrypted connection."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import unquote, urlsplit

import aiosmtplib

from crm_api.domain.kit.errors import Example, TransientError
from crm_api.platform.setting_fields import is_on_loopback
from crm_api.platform.settings import Settings

TIMEOUT_SECONDS = 20.0
"""The time limit for the connection to the mail server, and for each response of this server.

It is much shorter than ``alert_mail.CLAIM_SECONDS``, the time for which a process reserves changes
of alerts. So the process has sent its mail before another process may report the same changes.
"""
PORTS = {"smtp": 587, "smtps": 465}


class MailNotSentError(TransientError):
    """The mail server could not be reached, or did not accept the mail."""

    code = "mail_not_sent"
    title = "Mail not sent"
    example = Example("SMTPException: SMTP STARTTLS extension not supported by server.")


@dataclass(frozen=True, kw_only=True)
class MailServer:
    """The SMTP server that accepts outgoing mail.

    Attributes:
        use_tls: True if the connection uses TLS from its first byte (``smtps``).
        start_tls: True if STARTTLS is required; None if STARTTLS is used when the server offers it;
            False if STARTTLS is never used.
    """

    host: str
    port: int
    use_tls: bool
    start_tls: bool | None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_server(url: str) -> MailServer:
    """Parse the URL of a mail server: ``smtp://user:password@host:587`` or ``smtps://…``.

    The user and the password must be percent-encoded. If an ``smtp`` URL has a password, STARTTLS
    is required, except for a server on this machine (loopback).

    Raises:
        ValueError: The scheme is not ``smtp`` or ``smtps``, or the host is missing.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(
            "must be smtp://user:password@host:port or smtps://user:password@host:port"
        )
    has_password = parts.password is not None
    use_tls = parts.scheme == "smtps"
    needs_tls = has_password and not is_on_loopback(url)
    return MailServer(
        host=parts.hostname,
        port=parts.port or PORTS[parts.scheme],
        use_tls=use_tls,
        start_tls=False if use_tls else (True if needs_tls else None),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password is not None else None,
    )


class Mailer:
    """Sends plain-text mail from one sender address to a configured list of recipients."""

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
        """Send one mail. The mail counts as sent if the server accepts at least one recipient.

        Args:
            subject: One line.
            body: Plain text.
            now: The date of the mail.
            to: The recipients; if omitted, the configured list.

        Raises:
            MailNotSentError: The server cannot be reached, or it accepts no recipient.
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
        """Check that the server accepts a connection and the login; send no mail.

        Raises:
            MailNotSentError: The server cannot be reached, or it refuses the login.
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
    """Create the mailer from the settings, without connecting; None if mail is not configured."""
    if settings.smtp_url is None or not settings.alert_emails:
        return None
    return Mailer(
        parse_server(settings.smtp_url.get_secret_value()),
        sender=settings.alert_sender,
        recipients=settings.alert_emails,
    )

"""A real SMTP server in the event loop of the test, which stores the mails that it accepts."""

import asyncio
import email
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

CERTIFICATE = Path(__file__).parents[1] / "fixtures" / "smtp" / "localhost.pem"
USER, PASSWORD = "crm@granite.test", "p@ss word/100%"
OWNER, OFFICE = "owner@granite.test", "office@granite.test"


class Mailbox:
    """State of the SMTP server.

    Attributes:
        refusals: Responses with which the server refuses the next mails, one response per mail.
        logins: Names of the users who logged in.
    """

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refusals: list[str] = []
        self.unknown: set[str] = set()
        self.logins: list[str] = []
        self.was_encrypted: list[bool] = []

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if address in self.unknown:
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        content = cast("bytes", envelope.content)
        self.mails.append(
            cast("EmailMessage", email.message_from_bytes(content, policy=cast("Any", default)))
        )
        self.recipients.append(list(envelope.rcpt_tos))
        transport = cast("asyncio.BaseTransport", server.transport)
        self.was_encrypted.append(transport.get_extra_info("ssl_object") is not None)
        return "250 OK"

    def authenticate(self, *given_by_server: Any) -> AuthResult:
        """Accept the login of ``USER`` with ``PASSWORD``, and refuse all other logins."""
        given = cast("LoginPassword", given_by_server[-1])
        if (given.login, given.password) != (USER.encode(), PASSWORD.encode()):
            return AuthResult(success=False, handled=False)
        self.logins.append(given.login.decode())
        return AuthResult(success=True)

    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]

    def last(self) -> str:
        """Return the text of the newest mail."""
        return str(self.mails[-1].get_content()).replace("\r\n", "\n")


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
    return context


def client_context() -> ssl.SSLContext:
    """Return a TLS context that trusts the certificate of the test server."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))


@asynccontextmanager
async def mail_server(
    *, offers_starttls: bool = False, from_the_start: bool = False, wants_login: bool = False
) -> AsyncIterator[Mailbox]:
    """Run the SMTP server on loopback until the ``with`` block ends; yield its state."""
    box = Mailbox()
    loop = asyncio.get_running_loop()
    context = server_context()

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            # If a connection is encrypted from the start, aiosmtpd does not notice the encryption.
            # It then warns about a login without encryption.
            warnings.simplefilter("ignore")
            return SMTP(
                box,
                hostname="mail.test",
                loop=loop,
                tls_context=context if offers_starttls else None,
                auth_required=wants_login,
                auth_require_tls=not from_the_start,
                authenticator=box.authenticate if wants_login else None,
            )

    server = await loop.create_server(
        protocol, "127.0.0.1", 0, ssl=context if from_the_start else None
    )
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        await server.wait_closed()

"""Mails are sent through a real SMTP server: encryption, logins and refused recipients."""

from urllib.parse import quote

import pytest
from tests.conftest import NOW
from tests.workers.mailbox import (
    OFFICE,
    OWNER,
    PASSWORD,
    USER,
    Mailbox,
    client_context,
    mail_server,
)

from crm_api.domain.alerts.mail import Mailer, MailNotSentError, parse_server

LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"


def make_mailer(box: Mailbox, url: str = "smtp://localhost:{port}") -> Mailer:
    return Mailer(
        parse_server(url.format(port=box.port)),
        sender="alerts@granite.test",
        recipients=[OWNER, OFFICE],
        tls_context=client_context(),
    )


async def send(mailer: Mailer, body: str = "Something happened.") -> None:
    await mailer.send(subject="It is cold: 5 °C", body=body, now=NOW)


async def test_mail_reaches_all_recipients_as_plain_text() -> None:
    async with mail_server() as box:
        await send(make_mailer(box), body="Ärger.\n" + "A long line. " * 200)

    (mail,) = box.mails
    assert box.recipients == [[OWNER, OFFICE]]
    assert (mail["From"], mail["To"]) == ("alerts@granite.test", f"{OWNER}, {OFFICE}")
    assert (mail["Subject"], mail.get_content_type()) == ("It is cold: 5 °C", "text/plain")
    assert mail["Date"] == "Wed, 25 Nov 2026 15:00:00 +0000"
    assert mail["Message-ID"].endswith("@granite.test>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert box.last().startswith("Ärger.\nA long line. A long line.")


async def test_mail_is_encrypted_if_the_server_offers_starttls() -> None:
    async with mail_server(offers_starttls=True) as box:
        await send(make_mailer(box))

    assert box.was_encrypted == [True]


async def test_smtps_is_encrypted_from_the_start_and_logs_in() -> None:
    async with mail_server(from_the_start=True, wants_login=True) as box:
        await send(make_mailer(box, f"smtps://{LOGIN}@localhost:{{port}}"))

    assert (box.was_encrypted, box.logins) == ([True], [USER])


async def test_mailer_logs_in_after_starttls() -> None:
    async with mail_server(offers_starttls=True, wants_login=True) as box:
        await send(make_mailer(box, f"smtp://{LOGIN}@localhost:{{port}}"))

    assert (box.was_encrypted, box.logins) == ([True], [USER])


async def test_untrusted_certificate_is_refused() -> None:
    async with mail_server(from_the_start=True) as box:
        untrusting = Mailer(
            parse_server(f"smtps://localhost:{box.port}"), sender=OFFICE, recipients=[OWNER]
        )

        with pytest.raises(MailNotSentError, match="certificate"):
            await send(untrusting)

    assert box.mails == []


async def test_wrong_password_is_reported_without_the_password() -> None:
    async with mail_server(offers_starttls=True, wants_login=True) as box:
        wrong = make_mailer(box, f"smtp://{quote(USER, safe='')}:not-it-at-all@localhost:{{port}}")

        with pytest.raises(MailNotSentError, match="SMTPAuthenticationError") as caught:
            await send(wrong)

    assert "not-it-at-all" not in caught.value.detail


async def test_mail_that_one_recipient_accepts_counts_as_sent() -> None:
    async with mail_server() as box:
        box.unknown.add(OFFICE)
        await send(make_mailer(box))

    assert box.recipients == [[OWNER]]


async def test_mail_without_an_accepted_recipient_is_not_sent() -> None:
    async with mail_server() as box:
        box.unknown |= {OWNER, OFFICE}

        with pytest.raises(MailNotSentError, match="550"):
            await send(make_mailer(box))


async def test_refusal_and_unreachable_server_raise_an_error() -> None:
    async with mail_server() as box:
        mailer = make_mailer(box)
        box.refusals.append("451 not now")
        with pytest.raises(MailNotSentError, match="not now"):
            await send(mailer)
        await mailer.check()

    with pytest.raises(MailNotSentError):
        await mailer.check()
    with pytest.raises(MailNotSentError):
        await send(mailer)
    assert box.mails == []


@pytest.mark.parametrize(
    ("url", "port", "use_tls", "start_tls"),
    [
        ("smtp://mail.example.com", 587, False, None),
        ("smtp://mail.example.com:25", 25, False, None),
        ("smtp://u:p@mail.example.com", 587, False, True),
        ("smtp://u:p@localhost:1025", 1025, False, None),
        ("smtp://u:p@127.0.0.1:1025", 1025, False, None),
        ("smtps://u:p@mail.example.com", 465, True, False),
    ],
)
def test_password_is_never_sent_unencrypted_over_a_network(
    url: str, port: int, *, use_tls: bool, start_tls: bool | None
) -> None:
    server = parse_server(url)

    assert (server.port, server.use_tls, server.start_tls) == (port, use_tls, start_tls)


def test_login_with_reserved_characters_is_read_and_its_password_is_not_shown() -> None:
    server = parse_server(f"smtp://{LOGIN}@mail.example.com")

    assert (server.username, server.password) == (USER, PASSWORD)
    assert PASSWORD not in repr(server)


@pytest.mark.parametrize("url", ["http://mail.example.com", "smtp://", "mail.example.com", ""])
def test_address_without_smtp_scheme_or_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="smtp://"):
        parse_server(url)

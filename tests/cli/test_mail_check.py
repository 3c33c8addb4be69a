"""Tests of how `crm-api doctor` checks the mail server, with a real mail server."""

from tests.workers.mailbox import mail_server

from crm_api.cli.doctor_checks import State, check_mail
from crm_api.platform.settings import Settings


def mail_settings(port: int, **more: str) -> Settings:
    values = {
        "CRM_SMTP_URL": f"smtp://127.0.0.1:{port}",
        "CRM_ALERT_EMAILS": "owner@granite.test",
        **more,
    }
    return Settings.from_env(values)


async def test_missing_mail_setup_is_a_warning_with_the_real_provider() -> None:
    (sandbox,) = await check_mail(Settings.from_env({}))
    (real,) = await check_mail(
        Settings.from_env(
            {
                "CRM_OPENPHONE_API_KEY": "a key",
                "CRM_OPENPHONE_WEBHOOK_SECRETS": "c2FuZGJveC1rZXktdGhhdC1wcm92ZXM=",
            }
        )
    )

    assert (sandbox.state, real.state) == (State.OK, State.WARNING)
    assert "CRM_SMTP_URL" in real.advice


async def test_mail_server_that_responds_is_ok_and_receives_no_mail() -> None:
    async with mail_server() as box:
        (check,) = await check_mail(mail_settings(box.port))

    assert check.state is State.OK
    assert box.mails == []


async def test_mail_server_that_is_unreachable_or_refuses_the_login_is_broken() -> None:
    async with mail_server(wants_login=True) as box:
        url = f"smtp://crm:hunter2@127.0.0.1:{box.port}"
        (refused,) = await check_mail(mail_settings(box.port, CRM_SMTP_URL=url))
    (away,) = await check_mail(mail_settings(box.port))

    assert (refused.state, away.state) == (State.BROKEN, State.BROKEN)
    assert "CRM_SMTP_URL" in away.advice
    assert "hunter2" not in refused.advice

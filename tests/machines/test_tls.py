"""Tests of PostgreSQL and Redis with TLS, with special characters in a password, and with an ACL.

The ACL (access control list) of Redis allows only the commands that the service needs.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.asyncio import Redis
from sqlalchemy import text
from tests.conftest import SECRET
from tests.machines.servers import (
    CERTIFICATE,
    ESCAPED,
    PASSWORD,
    TlsRedis,
    postgres_with_tls,
    redis_with_tls,
)

from crm_api.cli.doctor_checks import Check, State, check_redis, run_check
from crm_api.cli.doctor_database_checks import check_database
from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.monitoring.backups import postgres as dumps
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork, open_engine
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings, SettingsError
from crm_api.routers.http.rate_limits import RequestRate
from crm_api.workers.deps import Deps
from crm_api.workers.queue import ArqJobQueue
from crm_api.workers.worker import build_worker

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "machines.md"
SIMPLE = "simple-password"
ROOT = f"&sslrootcert={CERTIFICATE}"
VERIFIED = f"?sslmode=verify-full{ROOT}"


def rule_of_the_page() -> str:
    """Return the ACL (access control) rule of the documentation page, as a line of an ACL file."""
    found = re.search(r"ACL SETUSER (crm on) '>\w+' (.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    rest = found[2].replace("\\\n", " ").replace("'", "")
    return f"user {found[1]} >{SIMPLE} {' '.join(rest.split())}"


@pytest.fixture(scope="module")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("tls")
    for path in (folder, *folder.parents[:3]):
        with suppress(PermissionError):
            # PostgreSQL does not run as root. Its user must be able to open the folder.
            path.chmod(path.stat().st_mode | 0o011)
    with postgres_with_tls(folder) as url:
        yield url


@pytest.fixture(scope="module")
def tls_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    folder = tmp_path_factory.mktemp("redis")
    rules = (
        rule_of_the_page(),
        f"user odd on #{_sha256(PASSWORD)} ~* &* +@all",
        f"user narrow on >{SIMPLE} ~crm:* ~arq:* +@all -zadd",
        f"user elsewhere on >{SIMPLE} ~other:* +@all",
    )
    with redis_with_tls(folder, *rules) as started:
        yield started


def _sha256(value: str) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(value.encode())
    return digest.finalize().hex()


@pytest.fixture(scope="module")
def foreign_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certificate of an authority that did not sign the servers' certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("foreign") / "root.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def settings(**values: str) -> Settings:
    named = {f"CRM_{name.upper()}": value for name, value in values.items()}
    return Settings.from_env({"CRM_SECRET_KEY": SECRET} | named)


async def judge(part: str, found: Settings) -> Check:
    """Return what `crm-api doctor` reports about one part: the database or Redis."""
    check = {"database": check_database, "redis": check_redis}[part]
    return (await run_check(part, found, check))[0]


async def test_pool_and_dump_go_through_verified_tls(postgres_url: str) -> None:
    url = settings(database_url=postgres_url + VERIFIED).require_database_url()

    async with open_engine(url, pool_size=1) as engine, engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="REPEATABLE READ")
        is_encrypted = await connection.scalar(
            text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        )
        snapshot = str(await connection.scalar(text("SELECT pg_export_snapshot()")))
        dump = await asyncio.to_thread(lambda: b"".join(dumps.dump(url, snapshot=snapshot)))

    assert is_encrypted
    assert dump.startswith(b"PGDMP")


@pytest.mark.parametrize(
    ("change", "query", "message"),
    [
        pytest.param((ESCAPED, "wrong"), VERIFIED, "password authentication failed", id="password"),
        pytest.param(("", ""), "?sslmode=disable", "no encryption", id="no TLS"),
        pytest.param(("localhost", "127.0.0.2"), VERIFIED, "IP address mismatch", id="name"),
        pytest.param(
            ("", ""), "?sslmode=verify-full&sslrootcert={foreign}", "certificate", id="root"
        ),
    ],
)
async def test_doctor_says_in_one_line_why_the_database_is_not_reached(
    postgres_url: str, foreign_root: Path, change: tuple[str, str], query: str, message: str
) -> None:
    url = postgres_url.replace(*change) + query.format(foreign=foreign_root)

    found = await judge("database", settings(database_url=url))

    assert found.state is State.BROKEN
    assert message in found.advice
    assert "\n" not in found.advice
    assert ESCAPED not in found.advice


@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
# The worker may be cancelled while it sends a request to Redis, which causes this warning.
@pytest.mark.filterwarnings(r"ignore:Exception ignored in. <function Redis\.__del__")
async def test_worker_api_and_doctor_work_with_the_acl_rule_of_the_page(
    tls_redis: TlsRedis,
    database_url: str,
    committed_uow: Callable[[], UnitOfWork],
    provider: OpenPhoneClient,
) -> None:
    url = tls_redis.url(f"crm:{SIMPLE}")
    found = settings(redis_url=url, database_url=database_url)
    ran: asyncio.Queue[None] = asyncio.Queue()

    async def report(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - what a job is given
        ran.put_nowait(None)

    queue = ArqJobQueue(url)
    deps = Deps(
        settings=found,
        new_uow=committed_uow,
        queue=queue,
        provider=provider,
        limiter=Limiter(rate_per_second=8),
        times=SendTimes.from_settings(found),
        rules=NO_RULES,
        secret=found.require_secret_key(),
    )
    worker = build_worker(found, deps, {JobName.SEND_MESSAGES: report})
    working = asyncio.create_task(worker.async_run())
    await queue.push(Job(name=JobName.SEND_MESSAGES))
    for _ in ("at the start, by cron", "nudged"):
        await asyncio.wait_for(ran.get(), 10)
    rate = RequestRate(url, quota=5)
    left = await rate.take("somebody")
    await rate.close()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    await worker.close()
    await queue.close()
    judged = await judge("redis", found)
    admin = Redis.from_url(tls_redis.url(f"odd:{ESCAPED}"))
    refused = await admin.acl_log()
    await admin.aclose()

    assert left is not None
    assert left.left == 4
    assert judged.state is State.OK
    assert refused == []


@pytest.mark.parametrize(
    ("user", "query", "message"),
    [
        pytest.param(f"odd:{ESCAPED}", "", "", id="all is well"),
        pytest.param("crm:wrong", "", "invalid username-password pair", id="password"),
        pytest.param(f"narrow:{SIMPLE}", "", "'zadd'", id="command"),
        pytest.param(f"elsewhere:{SIMPLE}", "", "key", id="keys"),
        pytest.param(f"odd:{ESCAPED}", "?ssl_ca_certs={foreign}", "certificate", id="root"),
    ],
)
async def test_doctor_says_in_one_line_why_redis_is_not_used(
    tls_redis: TlsRedis, foreign_root: Path, user: str, query: str, message: str
) -> None:
    url = tls_redis.url(user, query.format(foreign=foreign_root))

    found = await judge("redis", settings(redis_url=url))

    assert found.state is (State.BROKEN if message else State.OK)
    assert message in found.advice
    assert "\n" not in found.advice


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"database_url": "postgresql://db/crm?sslmode=full"}, "CRM_DATABASE_URL: sslmode must be"),
        (
            {"database_url": "postgresql://db/crm?sslrootcert=/no/such.pem"},
            "CRM_DATABASE_URL: sslrootcert: /no/such.pem cannot be read",
        ),
        (
            {"redis_url": "rediss://redis/0?ssl_ca_certs=/no/such.pem"},
            "CRM_REDIS_URL: ssl_ca_certs: /no/such.pem cannot be read",
        ),
        ({"redis_url": "rediss://redis/0?ca=x"}, "CRM_REDIS_URL: ca=x is not accepted"),
        (
            {"redis_url": "redis://redis/0?ssl_cert_reqs=none"},
            "CRM_REDIS_URL: ssl_cert_reqs is accepted only",
        ),
        ({"redis_url": "redis://redis/one"}, "CRM_REDIS_URL: must be redis://"),
        ({"redis_url": "redis://redis:port/0"}, "CRM_REDIS_URL: must be redis://"),
        ({"database_direct_url": "postgresql://db/crm"}, "CRM_DATABASE_DIRECT_URL"),
    ],
    ids=str,
)
def test_wrong_addresses_prevent_the_start(values: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(**values)

    assert str(caught.value).startswith(message)

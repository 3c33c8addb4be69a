import ipaddress
import socket
from pathlib import Path

import pytest
from yarl import URL

from crm_api.domain.kit.addresses import AddressPolicy, AddressRefusedError, is_public
from crm_api.platform.settings import Settings

NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_private_or_reserved_address_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "104.16.1.1", "::ffff:8.8.8.8", "2606:4700::1", "2a00:1450::8a"]
)
def test_public_address_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_public_address_is_allowed_on_ports_80_and_443_only() -> None:
    address = ipaddress.ip_address("8.8.8.8")

    assert [
        port for port in (22, 80, 443, 6379, 8080) if AddressPolicy().allows(address, port)
    ] == [
        80,
        443,
    ]


def test_address_with_a_scope_id_is_not_public() -> None:
    assert not is_public(ipaddress.ip_address("2606:4700::1%eth0"))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://media.example.com/1", "bad_address"),
        ("file:///etc/passwd", "bad_address"),
        ("gopher://media.example.com/1", "bad_address"),
        ("/etc/passwd", "bad_address"),
        ("http:///1", "bad_address"),
        ("https://key@media.example.com/1", "bad_address"),
        ("https://media.example.com:22/1", "forbidden_port"),
        ("http://media.example.com:8001/1", "forbidden_port"),
        ("http://169.254.169.254/latest/meta-data", "forbidden_address"),
        ("http://[::1]/", "forbidden_address"),
        ("http://[fd00:ec2::254]/", "forbidden_address"),
        ("http://0.0.0.0/", "forbidden_address"),
    ],
)
def test_forbidden_url_is_refused_without_a_look_up(url: str, code: str) -> None:
    with pytest.raises(AddressRefusedError) as refused:
        AddressPolicy().check_url(URL(url))

    assert refused.value.code == code


def test_socket_for_a_private_address_is_not_created() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))

    with pytest.raises(AddressRefusedError) as refused:
        AddressPolicy().open_socket(info)

    assert refused.value.code == "forbidden_address"


def settings_of(tmp_path: Path, **env: str) -> Settings:
    values = {f"CRM_{name.upper()}": value for name, value in env.items()}
    return Settings.from_env({"CRM_DATA_DIR": str(tmp_path), "CRM_SECRET_KEY": "x" * 32, **values})


LOOPBACK = ipaddress.ip_address("127.0.0.1")
PRIVATE = ipaddress.ip_address("10.0.0.1")
NO_SANDBOX = [
    {"openphone_base_url": "http://sandbox:8001"},
    {
        "openphone_base_url": "http://127.0.0.1:8001",
        "openphone_api_key": "a key",
        "openphone_webhook_secrets": "c2FuZGJveC1rZXk=",
    },
]


def test_files_are_fetched_from_loopback_on_the_port_of_the_sandbox_only(tmp_path: Path) -> None:
    policy = AddressPolicy.for_files(settings_of(tmp_path, port="8000"))

    assert policy.allows(LOOPBACK, 8001)
    assert not policy.allows(LOOPBACK, 8000)
    assert not policy.allows(LOOPBACK, 80)
    assert not policy.allows(PRIVATE, 8001)


def test_with_the_sandbox_webhooks_are_sent_to_any_loopback_port(tmp_path: Path) -> None:
    policy = AddressPolicy.for_webhooks(settings_of(tmp_path))

    policy.check_url(URL("http://127.0.0.1:9000/hook"))
    policy.check_url(URL("http://localhost:9000/hook"))
    policy.check_url(URL("https://hooks.example.com:8443/hook"))
    assert policy.allows(LOOPBACK, 9000)
    assert not policy.allows(PRIVATE, 9000)


@pytest.mark.parametrize("env", NO_SANDBOX)
def test_without_the_sandbox_loopback_is_forbidden(tmp_path: Path, env: dict[str, str]) -> None:
    settings = settings_of(tmp_path, **env)

    for policy in (AddressPolicy.for_files(settings), AddressPolicy.for_webhooks(settings)):
        assert not policy.allows(LOOPBACK, 8001)
        assert not policy.allows(LOOPBACK, 80)
        assert not policy.allows(ipaddress.ip_address("::1"), 443)


def test_public_webhook_needs_tls(tmp_path: Path) -> None:
    policy = AddressPolicy.for_webhooks(settings_of(tmp_path))

    for url in ("http://hooks.example.com/", "http://8.8.8.8/", "http://localhost.example.com/"):
        with pytest.raises(AddressRefusedError) as refused:
            policy.check_url(URL(url))
        assert refused.value.code == "insecure"

"""Pushes are encrypted for one browser and signed for its push service."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from tests.domain.outbound.web_push.push_service import CURVE, Browser, ReceivedPush, decode

from crm_api.domain.outbound.web_push.push_message import (
    MOST_BYTES,
    PushRequest,
    PushTarget,
    build_push_request,
    public_push_key,
)
from crm_api.platform.encryption import Secret

SECRET = b"a test's secret key of 32 characters"
NOW = datetime(2026, 12, 7, 15, tzinfo=UTC)
URL = "https://push.example.com:8443/wpush/v2/abc?x=1"


def build(browser: Browser, payload: bytes = b"{}", *, endpoint: str = URL) -> PushRequest:
    return build_push_request(
        PushTarget(endpoint=endpoint, **browser.keys()),
        payload,
        topic="0" * 32,
        lasts=timedelta(hours=4),
        contact="Granite <crm@granite.example.com>",
        secret=SECRET,
        now=NOW,
    )


def test_example_of_the_standard_is_decrypted_by_the_browser_of_these_tests() -> None:
    # Source: RFC 8291, section 5 and appendix A, read 2026-11-29.
    private = decode("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94")
    browser = Browser(
        key=ec.derive_private_key(int.from_bytes(private), CURVE),
        auth=decode("BTBZMqHH6r4Tts7J_aSIgg"),
    )
    body = decode(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
        "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )

    assert browser.decrypt(body) == b"When I grow up, I want to be a watermelon"


def test_push_is_decrypted_only_by_its_browser() -> None:
    browser = Browser()
    text = json.dumps({"title": "1 conversation waits"}).encode()

    first, second = build(browser, text), build(browser, text)

    assert browser.decrypt(first.body) == browser.decrypt(second.body) == text
    assert first.body != second.body
    with pytest.raises(InvalidTag):
        Browser().decrypt(first.body)


def test_request_is_signed_for_the_push_service() -> None:
    request = build(Browser())

    claims = ReceivedPush(path="", headers=request.headers, body=request.body).claims(
        public_push_key(SECRET)
    )
    assert claims == {
        "aud": "https://push.example.com:8443",
        "exp": int((NOW + timedelta(hours=12)).timestamp()),
        "sub": "mailto:crm@granite.example.com",
    }
    shown = {name: request.headers[name] for name in ("content-encoding", "ttl", "topic")}
    assert shown == {"content-encoding": "aes128gcm", "ttl": "14400", "topic": "0" * 32}


def test_longest_payload_fits_the_record_of_a_push_service() -> None:
    request = build(Browser(), b"x" * MOST_BYTES)

    assert len(request.body) <= 4096
    with pytest.raises(ValueError, match="payload"):
        build(Browser(), b"x" * (MOST_BYTES + 1))


def test_push_key_stays_when_the_secret_key_is_replaced() -> None:
    before = Secret(SECRET, seals=(SECRET,))
    after = Secret(SECRET, seals=(b"another secret key", SECRET))

    assert public_push_key(before) == public_push_key(after)
    assert public_push_key(before) != public_push_key(b"another installation")

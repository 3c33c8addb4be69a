from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.domain.provider.openphone.samples import vectors

from crm_api.domain.provider.openphone.errors import (
    MalformedSignatureError,
    MismatchedSignatureError,
    MissingSignatureError,
    SignatureError,
    StaleSignatureError,
)
from crm_api.domain.provider.openphone.signature import (
    SignatureScheme,
    Verified,
    Verifier,
    sign_legacy,
    sign_standard,
)

NOW = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)
KEY = "dGVzdC1rZXktb2YtdGhpcnR5LXR3by1ieXRlcy1vay4="
OTHER_KEY = "b3RoZXIta2V5LW9mLXRoaXJ0eS10d28tYnl0ZXMtb2s="
BODY = '{"text":"Sí, mañana"}'.encode()


def verify(headers: dict[str, str], body: bytes, *, secrets: list[str], now: datetime) -> Verified:
    return Verifier(secrets).verify(headers, body, now=now)


def _verify(vector: dict[str, Any], headers: dict[str, str], now: float) -> None:
    secret = vector["secret"]
    verify(
        headers,
        b64decode(vector["body_b64"]),
        secrets=secret if isinstance(secret, list) else [secret],
        now=datetime.fromtimestamp(now, UTC),
    )


@pytest.mark.parametrize("vector", vectors("legacy"), ids=lambda one: one["name"])
def test_legacy_signing_vector_is_verified(vector: dict[str, Any]) -> None:
    headers = {"openphone-signature": vector["header_value"]}
    if vector["expect_valid"]:
        _verify(vector, headers, vector["now_ms"] / 1000)
    else:
        with pytest.raises(SignatureError):
            _verify(vector, headers, vector["now_ms"] / 1000)


@pytest.mark.parametrize("vector", vectors("2026-03-30"), ids=lambda one: one["name"])
def test_standard_signing_vector_is_verified(vector: dict[str, Any]) -> None:
    if vector["expect_valid"]:
        _verify(vector, vector["headers"], vector["now_s"])
    else:
        with pytest.raises(SignatureError):
            _verify(vector, vector["headers"], vector["now_s"])


def test_own_legacy_signature_is_verified() -> None:
    verified = Verifier([OTHER_KEY, KEY]).verify(sign_legacy(KEY, BODY, at=NOW), BODY, now=NOW)

    assert verified.scheme is SignatureScheme.LEGACY
    assert verified.delivery_id is None


def test_own_standard_signature_is_verified() -> None:
    headers = sign_standard(f"whsec_{KEY}", BODY, delivery_id="msg_1", at=NOW)

    verified = Verifier([OTHER_KEY, KEY]).verify(headers, BODY, now=NOW)

    assert verified.scheme is SignatureScheme.STANDARD
    assert verified.delivery_id == "msg_1"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, MissingSignatureError),
        ({"webhook-signature": "v1,AAAA"}, MissingSignatureError),
        ({"openphone-signature": "hmac;1;x"}, MalformedSignatureError),
        (
            {"webhook-id": "m", "webhook-timestamp": "9" * 40, "webhook-signature": "v1,A"},
            MalformedSignatureError,
        ),
        (
            {"webhook-id": "m", "webhook-timestamp": "²", "webhook-signature": "v1,A"},
            MalformedSignatureError,
        ),
        (sign_legacy(OTHER_KEY, BODY, at=NOW), MismatchedSignatureError),
        (
            {"openphone-signature": "hmac;1;1795186798000;ümlaut"},
            MismatchedSignatureError,
        ),
        (sign_legacy(KEY, BODY, at=NOW - timedelta(days=3, seconds=1)), StaleSignatureError),
        (
            sign_standard(KEY, BODY, delivery_id="m", at=NOW - timedelta(seconds=301)),
            StaleSignatureError,
        ),
        (
            sign_standard(KEY, BODY, delivery_id="m", at=NOW + timedelta(seconds=301)),
            StaleSignatureError,
        ),
    ],
)
def test_each_kind_of_invalid_signature_has_its_error(
    headers: dict[str, str], expected: type[SignatureError]
) -> None:
    with pytest.raises(expected):
        Verifier([KEY]).verify(headers, BODY, now=NOW)


def test_key_of_the_standard_scheme_does_not_verify_legacy_signatures() -> None:
    headers = sign_legacy(KEY, BODY, at=NOW)

    with pytest.raises(MismatchedSignatureError):
        Verifier([f"whsec_{KEY}"]).verify(headers, BODY, now=NOW)


@pytest.mark.parametrize("secrets", [[], [""], ["whsec_"], ["no base64!"], ["c2hvcnQ="]])
def test_empty_or_invalid_key_is_refused(secrets: list[str]) -> None:
    with pytest.raises(ValueError, match="signing key"):
        Verifier(secrets)

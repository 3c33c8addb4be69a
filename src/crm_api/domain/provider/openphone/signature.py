"""Verify that a webhook comes from the provider, in both of its schemes, over the raw bytes.

Legacy: ``openphone-signature: hmac;1;<milliseconds>;<base64>[,…]``, an HMAC-SHA256 over
``<milliseconds>.<body>``. Standard Webhooks, since 2026-03-30: ``webhook-id``,
``webhook-timestamp`` (seconds) and ``webhook-signature: v1,<base64> [v1,…]``, over
``<id>.<seconds>.<body>``.

Source: OpenPhone support, "How to use webhooks", and Quo, "Webhooks quickstart", read 2026-11-24.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from crm_api.domain.provider.openphone.errors import (
    MalformedSignatureError,
    MismatchedSignatureError,
    MissingSignatureError,
    SignatureError,
    StaleSignatureError,
)

LEGACY_HEADER = "openphone-signature"
ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

AHEAD_SECONDS = 300
"""How far the sender's clock may be ahead of ours, in both schemes."""
STANDARD_PAST_SECONDS = 300
LEGACY_PAST_SECONDS = 3 * 24 * 3600
"""Retries arrive for three days and may keep their first timestamp. Accepting them is safe, because
duplicates are recognised."""
_MAX_TIMESTAMP_DIGITS = 16
_MILLISECONDS_FROM = 100_000_000_000
"""A number from here on is milliseconds; as seconds it would be the year 5138."""
_LEGACY_FIELDS = 4


class SignatureScheme(StrEnum):
    """Which of the provider's two webhook systems signed the request."""

    LEGACY = "legacy"
    STANDARD = "2026-03-30"


@dataclass(frozen=True)
class Verified:
    """What a valid signature proves.

    Attributes:
        delivery_id: The header ``webhook-id``, the same on every retry; None in the legacy scheme.
    """

    scheme: SignatureScheme
    delivery_id: str | None
    signed_at: datetime


def verify(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], now: datetime
) -> Verified:
    """Verify one webhook; to verify many, keep a ``Verifier``.

    Raises:
        MissingSignatureError: No signature header of either scheme.
        MalformedSignatureError: A header cannot be read.
        MismatchedSignatureError: No key gives this signature.
        StaleSignatureError: Correct, but outside its time window.
    """
    return Verifier(secrets).verify(headers, body, now=now)


class Verifier:
    """Holds the decoded keys. Any of them may have signed, so that keys can be rotated.

    A key with the prefix ``whsec_`` is tried only in the 2026-03-30 scheme; a bare base64 key is
    tried in both.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        """Decode the keys.

        Raises:
            ValueError: There is no key, or a key is not base64 or shorter than 8 bytes.
        """
        if not secrets:
            raise ValueError("at least one signing key is needed: none would verify anything")
        self._standard_keys = tuple(decode_key(secret) for secret in secrets)
        self._legacy_keys = tuple(
            decode_key(secret) for secret in secrets if not secret.startswith("whsec_")
        )

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Verified:
        """Verify one webhook by the scheme of its headers.

        Args:
            headers: Case-insensitive, or with lower-case names.
            body: The raw bytes of the request, not parsed and serialised again.
            now: Timezone-aware.

        Raises:
            MissingSignatureError: No signature header of either scheme.
            MalformedSignatureError: A header cannot be read.
            MismatchedSignatureError: No key gives this signature.
            StaleSignatureError: Correct, but outside its time window.
        """
        listed = headers.get(SIGNATURE_HEADER)
        if listed:
            return self._verify_standard(headers, listed, body, now.timestamp())
        legacy = headers.get(LEGACY_HEADER)
        if legacy:
            return self._verify_legacy(legacy, body, now.timestamp())
        raise MissingSignatureError("The request carries no webhook signature.")

    def _verify_standard(
        self, headers: Mapping[str, str], listed: str, body: bytes, now: float
    ) -> Verified:
        delivery_id = headers.get(ID_HEADER)
        timestamp = headers.get(TIMESTAMP_HEADER)
        if not delivery_id or not timestamp:
            raise MissingSignatureError(f"{ID_HEADER} or {TIMESTAMP_HEADER} is missing.")
        signed_at = _read_timestamp(timestamp)
        candidates = [entry[3:].encode() for entry in listed.split(" ") if entry.startswith("v1,")]
        if not candidates:
            raise MalformedSignatureError(f"{SIGNATURE_HEADER} holds no v1 entry.")
        signed = f"{delivery_id}.{timestamp}.".encode() + body
        if not _any_matches(self._standard_keys, signed, candidates):
            raise MismatchedSignatureError("No signing key gives this signature.")
        _check_window(signed_at, now, past=STANDARD_PAST_SECONDS)
        return Verified(
            SignatureScheme.STANDARD, delivery_id, datetime.fromtimestamp(signed_at, UTC)
        )

    def _verify_legacy(self, header: str, body: bytes, now: float) -> Verified:
        failure: SignatureError | None = None
        for timestamp, digest in _legacy_entries(header):
            signed = timestamp.encode() + b"." + body
            if not _any_matches(self._legacy_keys, signed, [digest.encode()]):
                continue
            signed_at = _read_timestamp(timestamp)
            try:
                _check_window(signed_at, now, past=LEGACY_PAST_SECONDS)
            except StaleSignatureError as error:
                failure = error
                continue
            return Verified(SignatureScheme.LEGACY, None, datetime.fromtimestamp(signed_at, UTC))
        raise failure or MismatchedSignatureError("No signing key gives this signature.")


def sign_legacy(secret: str, body: bytes, *, at: datetime) -> dict[str, str]:
    """Return the headers that sign ``body`` in the legacy scheme."""
    timestamp = str(int(at.timestamp() * 1000))
    digest = _digest(decode_key(secret), timestamp.encode() + b"." + body)
    return {LEGACY_HEADER: f"hmac;1;{timestamp};{digest.decode()}"}


def sign_standard(secret: str, body: bytes, *, delivery_id: str, at: datetime) -> dict[str, str]:
    """Return the headers that sign ``body`` in the 2026-03-30 scheme."""
    timestamp = str(int(at.timestamp()))
    digest = _digest(decode_key(secret), f"{delivery_id}.{timestamp}.".encode() + body)
    return {
        ID_HEADER: delivery_id,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: f"v1,{digest.decode()}",
    }


def decode_key(secret: str) -> bytes:
    """Return the key as bytes.

    Raises:
        ValueError: It is not base64, or shorter than 8 bytes.
    """
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except Base64Error as error:
        raise ValueError("a signing key is not base64") from error
    if len(key) < 8:  # noqa: PLR2004 - an empty or tiny key would verify anything
        raise ValueError("a signing key is too short")
    return key


def _digest(key: bytes, signed: bytes) -> bytes:
    return b64encode(hmac.digest(key, signed, "sha256"))


def _any_matches(keys: Sequence[bytes], signed: bytes, candidates: Sequence[bytes]) -> bool:
    found = False
    for key in keys:
        expected = _digest(key, signed)
        for candidate in candidates:
            # No early exit, so that the time taken does not reveal which key or entry was close.
            found |= hmac.compare_digest(expected, candidate)
    return found


def _legacy_entries(header: str) -> Iterator[tuple[str, str]]:
    """Yield (timestamp, digest) of each readable entry of the comma-separated list."""
    readable = False
    for entry in header.split(","):
        fields = entry.strip().split(";")
        if len(fields) != _LEGACY_FIELDS or fields[:2] != ["hmac", "1"]:
            continue
        if not _is_number(fields[2]):
            continue
        readable = True
        yield fields[2], fields[3]
    if not readable:
        raise MalformedSignatureError(f"{LEGACY_HEADER} is not hmac;1;<milliseconds>;<base64>.")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_TIMESTAMP_DIGITS


def _read_timestamp(text: str) -> float:
    if not _is_number(text):
        raise MalformedSignatureError("The signature's timestamp is not a number.")
    value = int(text)
    return value / 1000 if value >= _MILLISECONDS_FROM else float(value)


def _check_window(signed_at: float, now: float, *, past: int) -> None:
    if now - signed_at > past:
        raise StaleSignatureError("The signature is too old.")
    if signed_at - now > AHEAD_SECONDS:
        raise StaleSignatureError("The signature is dated in the future.")

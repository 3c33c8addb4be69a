import asyncio
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from tests.conftest import NOW

from crm_api.domain.inbound.webhook_setup.keyring import FRESH_SECONDS, GAP_SECONDS, KeyRing
from crm_api.domain.inbound.webhook_setup.keys import SavedKey
from crm_api.domain.provider.openphone.errors import MismatchedSignatureError, StaleSignatureError
from crm_api.domain.provider.openphone.signature import SignatureScheme, sign_legacy, sign_standard

BODY = b'{"id": "EV1"}'


def key(name: str) -> str:
    return "whsec_" + b64encode(f"a signing key: {name}".encode()).decode()


def signed(secret: str, *, at: datetime = NOW) -> dict[str, str]:
    return sign_standard(secret, BODY, delivery_id="msg_1", at=at)


@dataclass
class KeyStore:
    """Saved webhook keys, with a count of how often they were loaded."""

    keys: dict[str, datetime | None] = field(default_factory=dict)
    reads: int = 0
    is_unavailable: bool = False

    async def load(self) -> list[SavedKey]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_unavailable:
            raise ConnectionError
        return [
            SavedKey(
                webhook_id=name, scheme=SignatureScheme.STANDARD, key=key(name), retire_at=retire_at
            )
            for name, retire_at in self.keys.items()
        ]


class ManualMonotonic:
    """A monotonic clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def key_ring(store: KeyStore, *given: str, monotonic: ManualMonotonic | None = None) -> KeyRing:
    return KeyRing(given, load=store.load, monotonic=monotonic or ManualMonotonic())


async def test_keys_of_the_settings_and_saved_keys_are_both_accepted() -> None:
    keys = key_ring(KeyStore({"saved": None}), key("given"))

    for name in ("given", "saved"):
        assert (await keys.verify(signed(key(name)), BODY, now=NOW)).delivery_id == "msg_1"


async def test_legacy_scheme_uses_saved_keys() -> None:
    bare = key("saved").removeprefix("whsec_")
    store = KeyStore()

    async def load() -> list[SavedKey]:
        found = await store.load()
        legacy = SavedKey(webhook_id="WH1", scheme=SignatureScheme.LEGACY, key=bare, retire_at=None)
        return [*found, legacy]

    keys = KeyRing((), load=load)

    verified = await keys.verify(sign_legacy(bare, BODY, at=NOW), BODY, now=NOW)

    assert verified.scheme is SignatureScheme.LEGACY


async def test_without_any_key_each_signature_is_refused() -> None:
    keys = key_ring(KeyStore())

    with pytest.raises(MismatchedSignatureError):
        await keys.verify(signed(key("any")), BODY, now=NOW)


async def test_newly_saved_key_is_found_at_once() -> None:
    monotonic, store = ManualMonotonic(), KeyStore()
    keys = key_ring(store, key("given"), monotonic=monotonic)
    await keys.verify(signed(key("given")), BODY, now=NOW)
    monotonic.seconds += GAP_SECONDS
    store.keys["new"] = None

    await keys.verify(signed(key("new")), BODY, now=NOW)

    assert store.reads == 2


async def test_forged_signatures_read_the_database_at_most_once_per_gap() -> None:
    monotonic, store = ManualMonotonic(), KeyStore({"saved": None})
    keys = key_ring(store, monotonic=monotonic)

    async def forge(number: int) -> None:
        with pytest.raises(MismatchedSignatureError):
            await keys.verify(signed(key(f"forged {number}")), BODY, now=NOW)

    await asyncio.gather(*(forge(number) for number in range(500)))
    at_once = store.reads
    for number in range(100):
        monotonic.seconds += GAP_SECONDS / 10
        await forge(number)

    assert at_once == 1
    assert store.reads <= 1 + 11


async def test_concurrent_requests_share_one_read() -> None:
    monotonic, store = ManualMonotonic(), KeyStore()
    keys = key_ring(store, key("given"), monotonic=monotonic)
    await keys.verify(signed(key("given")), BODY, now=NOW)
    monotonic.seconds += GAP_SECONDS
    store.keys["new"] = None

    await asyncio.gather(*(keys.verify(signed(key("new")), BODY, now=NOW) for _ in range(50)))

    assert store.reads == 2


async def test_retired_key_ends_at_its_instant_without_a_read() -> None:
    until = NOW + timedelta(hours=28)
    store = KeyStore({"old": until, "new": None})
    keys = key_ring(store)
    await keys.verify(signed(key("old")), BODY, now=NOW)
    late = until + timedelta(seconds=1)

    with pytest.raises(MismatchedSignatureError):
        await keys.verify(signed(key("old"), at=late), BODY, now=late)

    await keys.verify(signed(key("new"), at=late), BODY, now=late)
    assert store.reads == 1


async def test_keys_are_read_again_after_a_while_even_if_signatures_match() -> None:
    monotonic, store = ManualMonotonic(), KeyStore({"old": None})
    keys = key_ring(store, monotonic=monotonic)
    await keys.verify(signed(key("old")), BODY, now=NOW)
    del store.keys["old"]
    monotonic.seconds += FRESH_SECONDS

    with pytest.raises(MismatchedSignatureError):
        await keys.verify(signed(key("old")), BODY, now=NOW)


async def test_known_keys_stay_valid_while_the_database_is_unavailable() -> None:
    monotonic, store = ManualMonotonic(), KeyStore({"saved": None})
    keys = key_ring(store, key("given"), monotonic=monotonic)
    await keys.verify(signed(key("saved")), BODY, now=NOW)
    store.is_unavailable = True
    monotonic.seconds += FRESH_SECONDS

    for name in ("saved", "given"):
        await keys.verify(signed(key(name)), BODY, now=NOW)

    assert store.reads == 2


async def test_stale_signature_causes_no_read() -> None:
    monotonic, store = ManualMonotonic(), KeyStore({"saved": None})
    keys = key_ring(store, monotonic=monotonic)
    await keys.verify(signed(key("saved")), BODY, now=NOW)
    monotonic.seconds += GAP_SECONDS

    with pytest.raises(StaleSignatureError):
        await keys.verify(signed(key("saved"), at=NOW - timedelta(hours=1)), BODY, now=NOW)

    assert store.reads == 1

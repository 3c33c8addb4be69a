import pytest

from crm_api.platform.encryption import Secret, UnsealError, is_under, seal, unseal

SECRET = b"a test's secret key of 32 characters"
TEXT = "whsec_c2VjcmV0LWtleS0x"


def test_sealed_text_is_unsealed_unchanged() -> None:
    sealed = seal(TEXT, secret=SECRET, about="webhook 7")

    assert unseal(sealed, secret=SECRET, about="webhook 7") == TEXT


def test_same_text_is_sealed_differently_each_time_and_is_not_readable() -> None:
    sealed = {seal(TEXT, secret=SECRET, about="webhook 7") for _ in range(20)}

    assert len(sealed) == 20
    assert not any(TEXT.encode() in one for one in sealed)


@pytest.mark.parametrize(
    ("secret", "about"), [(b"another secret key of 32 characters", "webhook 7"), (SECRET, "8")]
)
def test_another_key_or_purpose_cannot_unseal(secret: bytes, about: str) -> None:
    sealed = seal(TEXT, secret=SECRET, about="webhook 7")

    with pytest.raises(UnsealError):
        unseal(sealed, secret=secret, about=about)


@pytest.mark.parametrize("position", [0, 1, 13, -1])
def test_a_changed_byte_is_detected(position: int) -> None:
    changed = bytearray(seal(TEXT, secret=SECRET, about="webhook 7"))
    changed[position] ^= 1

    with pytest.raises(UnsealError):
        unseal(bytes(changed), secret=SECRET, about="webhook 7")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + bytes(12)])
def test_malformed_sealed_value_raises_an_unseal_error(sealed: bytes) -> None:
    with pytest.raises(UnsealError):
        unseal(sealed, secret=SECRET, about="webhook 7")


NEXT = b"the next secret key, of 32 characters"


def test_older_key_unseals_and_the_first_key_seals() -> None:
    old = seal(TEXT, secret=SECRET, about="webhook 7")
    secret = Secret(b"root", seals=(NEXT, SECRET))

    new = seal(TEXT, secret=secret, about="webhook 7")

    assert unseal(old, secret=secret, about="webhook 7") == TEXT
    assert unseal(new, secret=secret, about="webhook 7") == TEXT
    assert is_under(new, key=NEXT, about="webhook 7")
    assert not is_under(old, key=NEXT, about="webhook 7")
    assert secret == b"root"

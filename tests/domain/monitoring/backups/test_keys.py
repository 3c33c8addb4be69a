"""Key files of backups: a new key is readable, and unsuitable files are refused."""

import stat
from pathlib import Path

import pytest

from crm_api.domain.monitoring.backups import keys
from crm_api.domain.monitoring.backups.archive import BackupError

RIGHT = "four words and a number 7"


def fail_if_asked() -> str:
    pytest.fail("the passphrase must not be asked for")


@pytest.mark.parametrize("passphrase", ["", RIGHT])
def test_new_key_can_be_read(tmp_path: Path, passphrase: str) -> None:
    path = tmp_path / "key"

    recipient = keys.new_key(path, passphrase=passphrase)

    (identity,) = keys.read_identities(path, ask_passphrase=lambda: passphrase)
    assert str(identity.to_public()) == recipient
    assert recipient.startswith("age1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (b"AGE-SECRET-KEY" in path.read_bytes()) == (not passphrase)


def test_wrong_passphrase_is_refused(tmp_path: Path) -> None:
    keys.new_key(tmp_path / "key", passphrase=RIGHT)

    with pytest.raises(BackupError, match="passphrase does not open"):
        keys.read_identities(tmp_path / "key", ask_passphrase=lambda: "wrong")


def test_key_is_never_overwritten(tmp_path: Path) -> None:
    keys.new_key(tmp_path / "key", passphrase="")
    before = (tmp_path / "key").read_bytes()

    with pytest.raises(BackupError, match="exists"):
        keys.new_key(tmp_path / "key", passphrase="")

    assert (tmp_path / "key").read_bytes() == before


@pytest.mark.parametrize("content", ["", "no key\n", "AGE-SECRET-KEY-1NONSENSE\n"])
def test_file_without_a_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)

    with pytest.raises(BackupError, match="has no secret key"):
        keys.read_identities(tmp_path / "key", ask_passphrase=fail_if_asked)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="cannot be read"):
        keys.read_identities(tmp_path / "none", ask_passphrase=fail_if_asked)


@pytest.mark.parametrize("text", ["", "age1nonsense", "AGE-SECRET-KEY-1"])
def test_text_that_is_not_a_public_key_is_refused(text: str) -> None:
    with pytest.raises(BackupError, match="--recipient must be a public key"):
        keys.read_recipients([text])

import hashlib
import io
import stat
from pathlib import Path

import pytest
from tests.domain.messaging.media.bucket import Bucket

from crm_api.domain.messaging.media.errors import (
    MediaObjectMissingError,
    MediaStoreUnavailableError,
)
from crm_api.domain.messaging.media.store import MediaStore, path_of

CONTENT = bytes(range(256)) * 5_000
NAME = hashlib.sha256(CONTENT).hexdigest()


async def put(store: MediaStore, content: bytes = CONTENT, name: str = NAME) -> None:
    await store.put(name, io.BytesIO(content), size_bytes=len(content))


async def read(store: MediaStore, start: int = 0, end: int = len(CONTENT)) -> bytes:
    return b"".join([chunk async for chunk in await store.read(NAME, start=start, end=end)])


async def test_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = MediaStore(tmp_path / "media")

    await put(store)

    assert await read(store) == CONTENT
    assert await read(store, 1000, 1500) == CONTENT[1000:1500]
    assert await read(store, 7, 8) == CONTENT[7:8]


async def test_only_the_owner_can_read_the_directory(tmp_path: Path) -> None:
    await put(MediaStore(tmp_path / "media"))

    assert stat.S_IMODE((tmp_path / "media").stat().st_mode) == 0o700


async def test_stored_file_is_not_written_again(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    await put(store)
    before = (tmp_path / path_of(NAME)).stat()

    await put(store)

    after = (tmp_path / path_of(NAME)).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_stored_file_of_another_size_is_replaced(tmp_path: Path) -> None:
    """Test that the store replaces a partial object, which a full disk can leave."""
    store = MediaStore(tmp_path)
    await put(store)
    (tmp_path / path_of(NAME)).write_bytes(b"half")

    await put(store)

    assert await read(store) == CONTENT


async def test_missing_object_and_unreachable_store_are_different_errors(tmp_path: Path) -> None:
    with pytest.raises(MediaObjectMissingError):
        await read(MediaStore(tmp_path))

    (tmp_path / "a file").write_text("no directory")
    with pytest.raises(MediaStoreUnavailableError):
        await put(MediaStore(tmp_path / "a file" / "media"))


async def test_s3_address_in_the_setting_uses_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    large = CONTENT * 5
    name = hashlib.sha256(large).hexdigest()
    async with Bucket() as bucket:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
        store = MediaStore("s3://pictures/of/cracks")

        await put(store)
        await put(store, large, name)
        found = await read(store, 1000, 1500)
        with pytest.raises(MediaObjectMissingError):
            await store.read("0" * 64, start=0, end=1)
        bucket.is_away = True
        with pytest.raises(MediaStoreUnavailableError):
            await put(store)

    prefix = "pictures/of/cracks/"
    assert bucket.objects == {prefix + path_of(NAME): CONTENT, prefix + path_of(name): large}
    assert len(bucket.parts) == 2
    assert found == CONTENT[1000:1500]
    assert all(is_signed for _, _, is_signed in bucket.requests)

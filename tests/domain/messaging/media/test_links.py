from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
from tests.conftest import NOW, SECRET

from crm_api.domain.messaging.media import service as links
from crm_api.domain.messaging.media.errors import MediaLinkExpiredError, MediaLinkInvalidError

MEDIA = UUID(int=7)
KEY = SECRET.encode()


def make_link(seconds: int = 600) -> dict[str, str]:
    url, _ = links.make_media_link(
        KEY, media_id=MEDIA, base_url="https://crm.example.com", seconds=seconds, now=NOW
    )
    assert url.startswith(f"https://crm.example.com/v1/media/{MEDIA}?")
    return dict(parse_qsl(urlsplit(url).query))


def test_link_is_valid_until_its_expiry() -> None:
    link = make_link(600)

    links.check_media_link(KEY, media_id=MEDIA, now=NOW + timedelta(seconds=599), **link)
    with pytest.raises(MediaLinkExpiredError, match=f"/v1/media/{MEDIA}/link"):
        links.check_media_link(KEY, media_id=MEDIA, now=NOW + timedelta(seconds=600), **link)


@pytest.mark.parametrize(
    "change",
    [
        {"expires": "99999999999"},
        {"expires": "0"},
        {"expires": ""},
        {"expires": "9" * 5000},
        {"expires": "-1"},
        {"expires": "١٢٣"},
        {"signature": ""},
        {"signature": "x" * 43},
        {"signature": "é\ud800"},
    ],
)
def test_changed_link_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(MediaLinkInvalidError):
        links.check_media_link(KEY, media_id=MEDIA, now=NOW, **(make_link() | change))


def test_link_is_refused_for_another_file_or_installation() -> None:
    with pytest.raises(MediaLinkInvalidError):
        links.check_media_link(KEY, media_id=UUID(int=8), now=NOW, **make_link())
    with pytest.raises(MediaLinkInvalidError):
        links.check_media_link(b"another key", media_id=MEDIA, now=NOW, **make_link())


def test_signature_with_one_changed_character_is_refused() -> None:
    link = make_link()
    for place, character in enumerate(link["signature"][:-1]):
        other = "A" if character != "A" else "B"
        changed = link["signature"][:place] + other + link["signature"][place + 1 :]
        with pytest.raises(MediaLinkInvalidError):
            links.check_media_link(KEY, media_id=MEDIA, now=NOW, **(link | {"signature": changed}))

"""Queries on media and what is to be fetched."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.migrations.filling import made_id
from tests.migrations.hot import PLACE, Hot

from crm_api.domain.media import queries as media
from crm_api.domain.media.models import FetchStatus, MediaKind
from crm_api.domain.media.queries import StoredFile, Wanted


async def _note(session: AsyncSession) -> None:
    wanted = [Wanted(kind=MediaKind.PICTURE, url="https://media.example.com/7")]
    await media.note(session, activity_id=made_id("activity", 7), wanted=wanted, now=NOW)


async def _save(session: AsyncSession) -> None:
    file = StoredFile(sha256="0" * 64, content_type="image/png", size_bytes=1)
    await media.save_media(session, file, now=NOW)


async def _list(session: AsyncSession, status: FetchStatus | None) -> None:
    await media.list_fetches(session, status=status, activity_id=None, after=PLACE, limit=51)


MEDIA = [
    Hot("addresses of a message, once", {"uq_media_fetch_activity_id_url"}, _note),
    Hot(
        "media of a page of messages",
        {"uq_media_fetch_activity_id_url"},
        lambda s: media.shown_of(
            s, activity_ids=[made_id("activity", position) for position in range(1, 51)]
        ),
    ),
    Hot(
        "fetches that are due",
        {"idx_media_fetch_due"},
        lambda s: media.claim(s, limit=8, now=NOW, lease_until=NOW + timedelta(minutes=2)),
        is_generic=True,
    ),
    Hot("fetches, newest first", {"idx_media_fetch_created"}, lambda s: _list(s, None)),
    Hot(
        "fetches of one status",
        {"idx_media_fetch_status"},
        lambda s: _list(s, FetchStatus.DEAD),
    ),
    Hot(
        "all of one status, begun anew",
        {"idx_media_fetch_status"},
        lambda s: media.retry_all(s, status=FetchStatus.DEAD, error_code=None, now=NOW),
    ),
    Hot("errors of the dead ones", {"idx_media_fetch_status"}, media.dead_codes),
    Hot("a file, once", {"uq_media_sha256"}, _save),
]

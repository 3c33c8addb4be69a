"""Queries on media files and their fetches that must use an index."""

from tests.conftest import NOW
from tests.migrations.filling import made_id
from tests.migrations.hot import PLACE, Hot, sql, use_case

from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging.media import fetching, service
from crm_api.domain.messaging.media.fetching import FileAddress, StoredFile
from crm_api.domain.messaging.models.media import FetchStatus, MediaKind
from crm_api.platform.database import UnitOfWork


async def _note(uow: UnitOfWork) -> None:
    wanted = [FileAddress(kind=MediaKind.PICTURE, url="https://media.example.com/7")]
    await fetching.note_files(uow, activity_id=made_id("activity", 7), wanted=wanted, now=NOW)


async def _list(uow: UnitOfWork, status: FetchStatus | None) -> None:
    cursors = Cursors("media_fetches", status=status, activity_id=None)
    await service.list_fetches(
        uow, status=status, activity_id=None, cursor=cursors.write(*PLACE), limit=50
    )


MEDIA = [
    Hot(
        "media addresses of a message, stored once",
        {"uq_media_fetch_activity_id_url"},
        use_case(_note),
    ),
    Hot(
        "media of a page of messages",
        {"uq_media_fetch_activity_id_url"},
        use_case(
            lambda uow: service.read_shown_fetches(
                uow, activity_ids=[made_id("activity", position) for position in range(1, 51)]
            )
        ),
    ),
    Hot(
        "fetches that are due",
        {"idx_media_fetch_due"},
        use_case(lambda uow: fetching.claim_fetches(uow, limit=8, now=NOW)),
        is_generic=True,
    ),
    Hot(
        "fetches, newest first",
        {"idx_media_fetch_created"},
        use_case(lambda uow: _list(uow, None)),
    ),
    Hot(
        "fetches of one status",
        {"idx_media_fetch_status"},
        use_case(lambda uow: _list(uow, FetchStatus.DEAD)),
    ),
    Hot(
        "all fetches of one status, begun again",
        {"idx_media_fetch_status"},
        sql(service.RETRY_FETCHES, status=FetchStatus.DEAD.value, error_code=None, now=NOW),
    ),
    Hot("errors of dead fetches", {"idx_media_fetch_status"}, sql(service.DEAD_CODES)),
    Hot(
        "a file, stored once",
        {"uq_media_sha256"},
        lambda s: fetching.save_media(
            s, StoredFile(sha256="0" * 64, content_type="image/png", size_bytes=1), now=NOW
        ),
    ),
]

"""The daily run deletes pictures that were uploaded and never sent."""

import hashlib
import io
from datetime import timedelta
from typing import Any

from tests.conftest import NOW
from tests.domain.messaging.media.hosts import PICTURE
from tests.domain.messaging.media.support import objects

from crm_api.domain.messaging.media import uploads
from crm_api.domain.messaging.media.fetching import StoredFile
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id
from crm_api.workers.deps import Deps
from crm_api.workers.monitoring import run_daily


async def test_old_upload_is_deleted_from_the_store(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    deps: Deps = ctx["deps"]
    sha256 = hashlib.sha256(PICTURE).hexdigest()
    store = MediaStore.from_settings(deps.settings)
    await store.put(sha256, io.BytesIO(PICTURE), size_bytes=len(PICTURE))
    file = StoredFile(sha256=sha256, content_type="image/png", size_bytes=len(PICTURE))
    async with committed_uow() as uow:
        await uploads.store_upload(uow, file, caller_id=new_id(), now=NOW)

    await run_daily(deps, now=lambda: NOW + timedelta(days=6))
    kept = objects(deps.settings.data_dir / "media")
    await run_daily(deps, now=lambda: NOW + timedelta(days=8))

    assert kept == [sha256]
    assert objects(deps.settings.data_dir / "media") == []

"""Jobs about contacts: custom fields, tags, duplicates, phone validation, erasures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from crm_api.domain.messaging.media.errors import MediaStoreUnavailableError
from crm_api.domain.messaging.media.store import MediaStore
from crm_api.domain.people.custom_fields import stored_values
from crm_api.domain.people.deduplication import candidates
from crm_api.domain.people.erasure import progress as erasure_progress
from crm_api.domain.people.models.erasure import Erasure
from crm_api.domain.people.phone_validation import validation_run
from crm_api.domain.people.phone_validation.budget import Budget
from crm_api.domain.people.phone_validation.lookup_service import LookupService
from crm_api.domain.people.phone_validation.validation_run import Parts
from crm_api.domain.people.phone_validation.validator import Validator
from crm_api.domain.people.tags import tag_changes, tag_counts
from crm_api.platform import clock
from crm_api.platform.encryption import UnsealError
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.deps import Deps, TimeLimit, deps_of

log = structlog.get_logger()


async def apply_custom_fields(ctx: dict[str, Any]) -> None:
    """Convert stored values to the types of new custom fields, chunk by chunk.

    The job ends when the values of all fields are converted. When its time limit is near, the job
    requests its next run and ends.
    """
    deps = deps_of(ctx)
    limit = TimeLimit(deps)
    while not limit.is_over():
        async with deps.new_uow() as uow:
            is_at_work = await stored_values.apply_chunk(uow, now=clock.now())
        if not is_at_work:
            return
    await deps.queue.push(Job(name=JobName.APPLY_CUSTOM_FIELDS))


async def change_tags(ctx: dict[str, Any]) -> None:
    """Apply the requested tag changes chunk by chunk, and then count the tags.

    When its time limit is near, the job requests its next run and ends.
    """
    deps = deps_of(ctx)
    limit = TimeLimit(deps)
    is_at_work = True
    while is_at_work and not limit.is_over():
        async with deps.new_uow() as uow:
            is_at_work = await tag_changes.apply_next_chunk(uow, now=clock.now())
    if is_at_work:
        await deps.queue.push(Job(name=JobName.CHANGE_TAGS))
        return
    async with deps.new_uow() as uow:
        await tag_counts.refresh_tag_counts(uow, now=clock.now())


async def find_duplicates(ctx: dict[str, Any]) -> None:
    """Search all contacts for pairs that may be one person, unless the last search was recent."""
    deps = deps_of(ctx)
    async with deps.new_uow() as uow:
        await candidates.find_candidates(uow, now=clock.now(), clock=clock.now)


async def validate_phones(ctx: dict[str, Any]) -> None:
    """Work on requested phone validations.

    The job ends when no validation can continue now, or when its time limit is near. Two runs at
    the same time are harmless, because only one worker at a time can work on a validation.
    """
    deps = deps_of(ctx)
    is_over = TimeLimit(deps).is_over
    async with open_validator(deps) as service:
        parts = Parts(new_uow=deps.new_uow, service=service, now=clock.now, is_over=is_over)
        while not is_over() and await validation_run.work(parts):
            pass


@asynccontextmanager
async def open_validator(deps: Deps) -> AsyncIterator[Validator | None]:
    """Open the paid service that looks up line types of numbers; yield None if it is not set up.

    A line type is, for example, mobile or landline. The service is set up if its URL and its API
    key are in the settings.
    """
    url, key = deps.settings.phone_lookup_url, deps.settings.phone_lookup_api_key
    if url is None or key is None:
        yield None
        return
    daily = deps.settings.phone_lookup_daily_budget
    async with (
        Budget(deps.new_uow, daily=daily, now=clock.now) as budget,
        LookupService(url=url, api_key=key.get_secret_value(), budget=budget) as service,
    ):
        yield service


async def run_erasures(ctx: dict[str, Any]) -> None:
    """Continue erasures until no erasure is due or the job's time limit is near."""
    deps = deps_of(ctx)
    limit = TimeLimit(deps)
    while not limit.is_over():
        async with deps.new_uow() as uow:
            row = await erasure_progress.claim_erasure(uow.session, now=await uow.database_now())
        if row is None:
            return
        try:
            await _work_on(deps, row, limit)
        except UnsealError:
            # The search terms of this erasure cannot be decrypted without the old key. The erasure
            # is tried again when its lease (reservation) has expired. Until then, other erasures
            # are done.
            log.error(  # noqa: TRY400 - the traceback adds nothing
                "erasure not continued because the previous secret key is missing in "
                "CRM_OTHER_SECRET_KEYS",
                erasure_id=str(row.id),
            )


async def _work_on(deps: Deps, row: Erasure, limit: TimeLimit) -> None:
    await _remove_files(deps, row)
    has_more = True
    while has_more and not limit.is_over():
        async with deps.new_uow() as uow:
            has_more = await erasure_progress.continue_sweep(
                uow, erasure_id=row.id, now=await uow.database_now(), secret=deps.secret
            )


async def _remove_files(deps: Deps, row: Erasure) -> None:
    """Delete the database rows of a person's files, then the files from the media store.

    If the worker dies between the two steps, both steps run again.
    """
    async with deps.new_uow() as uow:
        objects = await erasure_progress.clear_remains(
            uow, erasure_id=row.id, now=await uow.database_now()
        )
    if not objects:
        return
    store = MediaStore.from_settings(deps.settings)
    try:
        for sha256 in objects:
            await store.remove(sha256)
    except MediaStoreUnavailableError as error:
        log.warning(
            "cannot delete the files of an erased person from the media store",
            erasure_id=str(row.id),
            error=error.detail,
        )
        return
    async with deps.new_uow() as uow:
        await erasure_progress.record_removed_objects(
            uow, erasure_id=row.id, now=await uow.database_now()
        )

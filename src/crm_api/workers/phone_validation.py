"""Validates phone numbers in the background, a slice of a run at a time."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from crm_api import clock
from crm_api.domain.phone_validation import checking
from crm_api.domain.phone_validation.budget import Budget
from crm_api.domain.phone_validation.checking import Parts
from crm_api.domain.phone_validation.lookup_service import LookupService
from crm_api.domain.phone_validation.validator import Validator
from crm_api.workers.deps import Deps, deps_of

SLICE_SECONDS = 30.0
"""A run stops after about this long and asks for another, well within the job's time-out."""


async def validate_phones(ctx: dict[str, Any]) -> None:
    """Work on the runs that wait, until none may go on or the time is up.

    A second run of the job changes nothing: one worker at a time holds a run.
    """
    deps = deps_of(ctx)
    ends_at = time.monotonic() + SLICE_SECONDS

    def is_over() -> bool:
        return deps.is_stopping or time.monotonic() >= ends_at

    async with open_service(deps) as service:
        parts = Parts(new_uow=deps.new_uow, service=service, now=clock.now, is_over=is_over)
        while not is_over() and await checking.work(parts):
            pass


@asynccontextmanager
async def open_service(deps: Deps) -> AsyncIterator[Validator | None]:
    """Give the paid service that the settings name; None when they name none."""
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

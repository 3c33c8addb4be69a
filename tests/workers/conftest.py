"""The context of a job."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps

from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings


@pytest.fixture
def job_uow(committed_uow: Callable[[], UnitOfWork]) -> Callable[[], UnitOfWork]:
    """Return units of work of jobs. Modules whose tests roll back return ``new_uow`` instead."""
    return committed_uow


@pytest.fixture
def ctx(
    settings: Settings,
    job_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    openphone: OpenPhoneClient,
) -> dict[str, Any]:
    """Return the context of a job that uses the sandbox in this process."""
    return {"deps": make_deps(settings, job_uow, queue, openphone)}

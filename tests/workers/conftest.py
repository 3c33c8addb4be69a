"""Shared fixtures of the job tests: the context with which a job runs."""

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
    """Return the function that creates the units of work of jobs.

    A module whose tests roll back overrides this fixture, and returns ``new_uow``.
    """
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

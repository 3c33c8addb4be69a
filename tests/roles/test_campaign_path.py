"""Prove that the database role of the service can run a campaign from its start to its end."""

from tests.workers.campaigns.test_campaigns import (  # noqa: F401 - run here, by another role
    test_started_campaign_is_written_sent_and_completed,
)
from tests.workers.conftest import ctx, job_uow  # noqa: F401 - fixtures of the test

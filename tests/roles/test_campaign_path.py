"""A campaign from its start to its end, by the role of the service."""

from tests.workers.campaigns.test_campaigns import (  # noqa: F401 - run here, by another role
    test_started_campaign_is_written_sent_and_completed,
)
from tests.workers.conftest import ctx, job_uow  # noqa: F401 - fixtures of the test

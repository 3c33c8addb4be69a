"""A campaign from its start to its end, by the role of the service."""

from tests.workers.test_campaigns import (  # noqa: F401 - run here, by another role
    ctx,
    openphone,
    sandbox,
    test_started_campaign_is_written_down_begun_sent_and_completed,
)

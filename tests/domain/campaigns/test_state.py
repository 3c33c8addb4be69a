"""Allowed moves of a campaign."""

import pytest

from crm_api.domain.campaigns import state
from crm_api.domain.campaigns.errors import InvalidTransitionError
from crm_api.domain.campaigns.models import CampaignStatus
from crm_api.domain.campaigns.state import Action


@pytest.mark.parametrize(
    ("status", "actions"),
    [
        ("draft", ["start"]),
        ("scheduled", ["pause", "cancel"]),
        ("running", ["pause", "cancel"]),
        ("paused", ["resume", "cancel"]),
        ("blocked", ["resume", "cancel"]),
        ("completed", []),
        ("cancelled", []),
    ],
)
def test_each_status_allows_its_moves_only(status: str, actions: list[str]) -> None:
    assert state.allowed(status) == actions


def test_every_status_is_covered() -> None:
    known = {CampaignStatus.DRAFT, *state.LIVE, *state.FINISHED}

    assert known == set(CampaignStatus)


def test_refused_move_names_what_is_allowed() -> None:
    with pytest.raises(InvalidTransitionError) as caught:
        state.require("running", Action.START)

    assert caught.value.code == "invalid_transition"
    assert caught.value.extras == {"allowed": ["pause", "cancel"]}


def test_allowed_move_passes() -> None:
    state.require("paused", Action.RESUME)

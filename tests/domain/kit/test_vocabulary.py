"""Each word of a closed set (such as the statuses) has a meaning. Sets that overlap share words."""

from enum import StrEnum

import pytest

from crm_api.domain.campaigns.forecast.finish import Binding
from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass, ReplyClassSource
from crm_api.domain.kit.vocabulary import meanings
from crm_api.domain.messaging.models.timeline import MessageStatus
from crm_api.domain.messaging.sends.number_rules import NumberRule
from crm_api.domain.messaging.sends.vocabulary import (
    CampaignStatus,
    EndedBy,
    MembershipStatus,
    PauseReason,
    SkipReason,
    StopRule,
)


@pytest.mark.parametrize(
    "words", [SkipReason, StopRule, PauseReason, MessageStatus, ReplyClass, ReplyClassSource]
)
def test_every_word_has_a_meaning(words: type[StrEnum]) -> None:
    sentences = meanings(words)

    assert sentences.keys() == set(words)
    assert all(sentence.endswith(".") for sentence in sentences.values())


@pytest.mark.parametrize(
    "words", [SkipReason, NumberRule, EndedBy, PauseReason, Binding, MembershipStatus]
)
def test_every_word_that_stops_a_message_is_a_stop_rule(words: type[StrEnum]) -> None:
    others = set(words) - set(StopRule) - {MembershipStatus.PENDING}

    assert others == set()


def test_every_word_that_skips_a_recipient_is_a_skip_reason() -> None:
    assert set(NumberRule) | set(EndedBy) <= set(SkipReason)


def test_every_status_of_a_campaign_except_running_is_a_stop_rule() -> None:
    stopping = {f"campaign_{status}" for status in CampaignStatus if status != "running"}

    assert stopping <= set(StopRule)

"""Queries of the send path (plan, claim, gate and recording) that must use an index."""

from datetime import timedelta

from tests.conftest import NOW
from tests.migrations.filling import LINE, NOON, RUNNING, made_id, phone_of
from tests.migrations.hot import CONTACT, PHONE, Hot, sql

from crm_api.domain.messaging.conversations import service as conversations
from crm_api.domain.messaging.conversations import user_messages
from crm_api.domain.messaging.sends import (
    attempt_insertion,
    carrier_budgets,
    claim,
    derive,
    gate,
    held_message_ids,
    ledger,
    legal_hours,
    matching,
    queue,
    queued_claim,
    replies,
    report,
    settle,
    stray_recipients,
    usage,
    withdraw,
)
from crm_api.domain.messaging.sends.claim_order import PlannedAttempt

ATTEMPT = made_id("attempt", 2500)
MEMBER = made_id("member", 2500)
WANTED = PlannedAttempt(
    attempt_id=made_id("new", 1),
    membership_id=made_id("member", 1500),
    contact_id=made_id("contact", 1500),
    phone=phone_of(1500),
    body="Hi",
    variant=0,
    not_after=NOW,
    max_recent=3,
    recent_hours=24,
    segments=1,
    carrier="t_mobile",
)
MESSAGE = {
    "phone": PHONE,
    "line_id": LINE,
    "made_at": NOW,
    "called_at": NOW,
    "grace": 600.0,
    "skew": 2.0,
}

SENDS = [
    Hot(
        "recipients to claim",
        {"idx_campaign_membership_status"},
        lambda s: claim.lock_candidates(
            s, campaign_id=RUNNING, zone_keys=["MA/zone0", "MA/zone1"], limit=160, now=NOW
        ),
        is_generic=True,
    ),
    Hot(
        "due recipients whose number belongs to no contact",
        {"idx_campaign_membership_status"},
        lambda s: stray_recipients.follow_contacts(
            s, campaign_id=RUNNING, zone_keys=["MA/zone0", "MA/zone1"], limit=160, now=NOW
        ),
        is_generic=True,
    ),
    Hot(
        "a day's use of line and campaign",
        {"idx_send_attempt_open", "idx_send_tally_line", "idx_send_attempt_uncertain"},
        lambda s: usage.count_usage(s, line_ids=[LINE], campaign_id=RUNNING, grace=600.0, now=NOW),
        is_generic=True,
    ),
    Hot(
        "a day's use of the carrier budgets",
        {
            "idx_send_attempt_open|uq_send_attempt_open_phone",
            "idx_carrier_tally_quarter",
            "idx_send_attempt_uncertain",
        },
        sql(
            carrier_budgets.SEGMENTS_USED,
            begins_at=NOW - timedelta(hours=7),
            ends_at=NOW + timedelta(hours=17),
            grace=600.0,
        ),
        is_generic=True,
    ),
    Hot(
        "candidates who were messaged before",
        {
            "pk_campaign_membership",
            "idx_campaign_membership_phone",
            "idx_activity_contact",
            "uq_contact_flag_phone_flag_type",
        },
        lambda s: claim.set_contacted_aside(
            s, membership_ids=[made_id("member", 1500)], rule="review", now=NOW
        ),
        is_generic=True,
    ),
    Hot(
        "zone keys of candidates whose contact moved",
        {"pk_campaign_membership"},
        sql(
            claim.COPY_ZONE_KEYS,
            ids=[made_id("member", 1500)],
            zone_keys=["MA/zone1"],
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "the claim: flags and earlier messages of the numbers",
        {"uq_contact_flag_phone_flag_type", "idx_send_attempt_phone"},
        lambda s: attempt_insertion.insert_attempts(
            s,
            [WANTED],
            cap_texts=3,
            cap_hours=720,
            campaign_id=RUNNING,
            line_id=LINE,
            token=made_id("token", 1),
            lease_until=NOW,
            min_days=30,
            grace=600.0,
            now=NOW,
        ),
    ),
    Hot(
        "conversations of claimed messages",
        {"uq_conversation_line_id_phone"},
        sql(
            attempt_insertion.OPEN_CONVERSATIONS,
            line_id=LINE,
            phones=[WANTED.phone],
            contact_ids=[WANTED.contact_id],
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "recipients and timeline rows of claimed messages",
        {"pk_campaign_membership"},
        sql(
            attempt_insertion.SHOW_CLAIMED,
            activity_ids=[WANTED.attempt_id],
            are_new=[True],
            membership_ids=[WANTED.membership_id],
            variants=[0],
            conversation_ids=[made_id("talk", 1)],
            contact_ids=[WANTED.contact_id],
            phones=[WANTED.phone],
            bodies=[WANTED.body],
            campaign_id=RUNNING,
            line_id=LINE,
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "the gate",
        {"pk_send_attempt"},
        sql(
            gate.PASS_GATE,
            ids=[ATTEMPT],
            tokens=[ATTEMPT],
            lease_until=NOW,
            ends_at=NOW,
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "outcomes of calls",
        {"pk_send_attempt", "pk_activity", "idx_send_attempt_membership"},
        lambda s: ledger.write_to_ledger(
            s,
            [ledger.AttemptOutcome(attempt_id=ATTEMPT, status="sent", message_id="ACnew")],
            send_after=NOW,
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "reports that came before the response to the call",
        {"pk_activity_key", "pk_activity"},
        lambda s: held_message_ids.take_strays(s, message_ids=["AC5"]),
        is_generic=True,
    ),
    Hot(
        "a response that replaces a match",
        {"uq_send_attempt_provider_message_id"},
        lambda s: held_message_ids.unbind_matched_messages(
            s, message_ids=["AC2500"], attempt_ids=[CONTACT], now=NOW
        ),
        is_generic=True,
    ),
    Hot(
        "memberships from their attempts",
        {"pk_campaign_membership", "idx_send_attempt_membership"},
        lambda s: derive.derive_recipients(s, membership_ids=[MEMBER], now=NOW),
        is_generic=True,
    ),
    Hot(
        "claims whose lease has expired",
        {"idx_send_attempt_open|uq_send_attempt_open_phone"},
        sql(settle.EXPIRE_CLAIMS, limit=100, now=NOW),
        is_generic=True,
    ),
    Hot(
        "calls whose lease has expired",
        {"idx_send_attempt_open|uq_send_attempt_open_phone"},
        sql(settle.EXPIRE_CALLS, limit=100, now=NOW),
        is_generic=True,
    ),
    Hot(
        "unclear attempts to look up",
        {"idx_send_attempt_open|uq_send_attempt_open_phone"},
        sql(matching.UNKNOWN_ATTEMPTS, limit=100),
        is_generic=True,
    ),
    Hot(
        "the attempt of a report",
        {"uq_send_attempt_provider_message_id"},
        sql(report.ATTEMPTS_OF_MESSAGES, message_ids=["AC2500", "AC2501"]),
        is_generic=True,
    ),
    Hot(
        "unclear attempts that a report may settle",
        {"idx_send_attempt_phone"},
        sql(
            report.UNSETTLED,
            **{name: value for name, value in MESSAGE.items() if name != "called_at"},
        ),
        is_generic=True,
    ),
    Hot(
        "stored messages that may match an unclear attempt",
        {"idx_activity_unmatched"},
        sql(
            matching.STORED_CANDIDATES,
            **{name: value for name, value in MESSAGE.items() if name != "made_at"},
        ),
        is_generic=True,
    ),
    Hot(
        "provider ids that are already used",
        {"uq_send_attempt_provider_message_id"},
        sql(matching.HELD_IDS, message_ids=["AC2500", "AC2501"]),
        is_generic=True,
    ),
    Hot(
        "the newest message that the list must show",
        {"idx_send_attempt_accepted"},
        sql(settle.CANARY, line_id=LINE, age=150.0, now=NOW),
        is_generic=True,
    ),
    Hot(
        "the recipients who replied",
        {"uq_campaign_membership_campaign_id_step_contact_id"},
        sql(
            replies.NOTE_REPLIES,
            campaign_ids=[RUNNING] * 50,
            contact_ids=[CONTACT] * 50,
            steps=[0] * 50,
            ats=[NOW] * 50,
            opt_outs=[False] * 50,
            interests=[False] * 50,
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "waiting recipients of a number that opts out",
        {"idx_campaign_membership_phone"},
        sql(withdraw.MEMBERS_OF_NUMBERS, phones=[PHONE], statuses=["pending"]),
        is_generic=True,
    ),
    Hot(
        "claimed attempts of a number that opts out",
        {"uq_send_attempt_open_phone"},
        sql(withdraw.WITHDRAW_NUMBERS, phones=[PHONE], now=NOW),
    ),
    Hot(
        "confirmations of a number that opts in",
        {"idx_activity_queued|idx_activity_queue", "uq_send_attempt_open_phone"},
        lambda s: withdraw.withdraw_confirmations(s, phones=[PHONE], now=NOW),
    ),
    Hot(
        "held recipients whose number has no hold",
        {
            "idx_campaign_membership_campaign",
            "uq_contact_flag_phone_flag_type|idx_contact_flag_type_phone",
        },
        sql(withdraw.HELD_WITHOUT_HOLD, limit=500, now=NOW),
    ),
    Hot(
        "follow-ups of a person who replied or called",
        {"idx_campaign_membership_phone"},
        sql(replies.LOCK_HEARD, phones=[PHONE], ats=[NOW]),
        is_generic=True,
    ),
    Hot(
        "which follow-ups end for a person who replied or called",
        {
            "idx_campaign_membership_phone",
            "uq_campaign_membership_campaign_id_step_contact_id",
            "idx_send_attempt_membership",
        },
        sql(replies.END, phones=[PHONE], ats=[NOW], why="replied", skew=2.0, now=NOW),
        is_generic=True,
    ),
    Hot(
        "the attempts of a page of messages",
        {"idx_send_attempt_phone"},
        sql(conversations.SHOWN_ATTEMPTS, phones=[PHONE], activity_ids=[ATTEMPT]),
        is_generic=True,
    ),
    Hot(
        "the message that several attempts share",
        {"pk_send_attempt", "idx_send_attempt_phone", "pk_activity"},
        sql(
            ledger.SHOW,
            ids=[ATTEMPT],
            shown=[None],
            send_after=NOW,
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "messages in flight to a number",
        {"uq_send_attempt_open_phone"},
        sql(withdraw.ATTEMPTS_UNDER_WAY, phones=[PHONE]),
    ),
    Hot(
        "claimed attempts of a campaign that stops",
        {"idx_send_attempt_open"},
        sql(withdraw.WITHDRAW_CAMPAIGN, campaign_id=RUNNING, now=NOW),
        is_generic=True,
    ),
    Hot(
        "parked attempts of a recipient",
        {
            "uq_campaign_membership_campaign_id_step_contact_id|idx_campaign_membership_campaign",
            "idx_send_attempt_membership",
        },
        sql(settle.LOCK_PARKED_OF_RECIPIENT, campaign_id=RUNNING, contact_id=CONTACT),
    ),
    Hot(
        "waiting messages outside campaigns",
        {"idx_activity_queue"},
        sql(queued_claim.LOCK_QUEUED, limit=50, now=NOW),
        is_generic=True,
    ),
    Hot(
        "the next scheduled message",
        {"idx_activity_queued|idx_activity_queue"},
        sql(queue.NEXT_SCHEDULED, until=NOW + timedelta(minutes=1), now=NOW),
        is_generic=True,
    ),
    Hot(
        "a waiting message, withdrawn",
        {"pk_activity"},
        sql(withdraw.WITHDRAW, message_id=made_id("activity", 7), now=NOW),
    ),
    Hot(
        "the answer that another user has just sent",
        {"uq_conversation_line_id_phone", "idx_activity_conversation"},
        sql(
            user_messages.FIND_OTHER_ANSWER,
            line_id=LINE,
            phone=PHONE,
            sender_id=made_id("any", 1),
            since=NOW - timedelta(minutes=1),
            oldest=NOW - timedelta(days=1),
        ),
        is_generic=True,
    ),
    Hot(
        "the zone key of a recipient, and whether they ever wrote",
        {
            "uq_contact_phone|idx_contact_phone_hash",
            "pk_contact",
            "uq_conversation_line_id_phone",
            "idx_activity_conversation",
        },
        sql(legal_hours.READ_NUMBER_ZONE, line_id=LINE, phone=PHONE),
        is_generic=True,
    ),
    Hot(
        "the conversation of a message",
        {"uq_conversation_line_id_phone"},
        sql(
            report.UPSERT_CONVERSATION,
            id=made_id("new", 2),
            line_id=LINE,
            phone=PHONE,
            contact_id=None,
            openphone_id=None,
            at=NOW,
            outgoing_at=NOW,
            answered_at=NOW,
            now=NOW,
        ),
    ),
    Hot(
        "the conversations of messages to queue",
        {"uq_conversation_line_id_phone"},
        sql(
            queue.UPSERT_CONVERSATIONS,
            ids=[made_id("new", 3)],
            line_ids=[LINE],
            phones=[PHONE],
            contact_ids=[None],
            are_answers=[True],
            now=NOW,
        ),
    ),
    Hot(
        "the lock of a campaign's line",
        {"pk_line", "pk_campaign"},
        lambda s: claim.lock_line(s, campaign_id=RUNNING, now=NOON),
        is_generic=True,
    ),
]

"""The kinds of alerts; ``docs/runbook.md`` has a heading for each."""

from enum import StrEnum


class AlertKind(StrEnum):
    """Everything that an alert may be about."""

    CAMPAIGN_BLOCKED = "campaign_blocked"
    """The provider refuses what a campaign sends."""
    CAMPAIGN_PAUSED = "campaign_paused"
    """Too many people opted out, or too many texts failed."""
    CLOCK_SKEW = "clock_skew"
    DOUBTFUL_OPT_OUT = "doubtful_opt_out"
    LINE_BLOCKED = "line_blocked"
    """The provider refuses the account or the number."""
    MAIL_DOWN = "mail_down"
    MEDIA_FETCH_DEAD = "media_fetch_dead"
    MESSAGE_ID_GIVEN_TWICE = "message_id_given_twice"
    PHONE_LOOKUP_REFUSED = "phone_lookup_refused"
    PHONE_VALIDATION_FAILED = "phone_validation_failed"
    PROVIDER_DOWN = "provider_down"
    PROVIDER_LIST_LAGS = "provider_list_lags"
    RECONCILIATION_DRIFT = "reconciliation_drift"
    RECONCILIATION_FAILED = "reconciliation_failed"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"  # noqa: S105 - a name
    RESTORED = "restored"
    """The database is that of a backup."""
    SEND_PARKED = "send_parked"
    WEBHOOK_ENDPOINT_DISABLED = "webhook_endpoint_disabled"
    WEBHOOK_EVENT_DEAD = "webhook_event_dead"
    WEBHOOK_HEALTH = "webhook_health"
    WEBHOOK_REFUSED = "webhook_refused"

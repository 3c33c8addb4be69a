"""Import the modules of all tables, so that ``metadata`` is complete for migrations and tests."""

from crm_api.domain.alerts import models as alerts
from crm_api.domain.alerts import outgoing_mail
from crm_api.domain.campaigns import models as campaigns
from crm_api.domain.campaigns.templates import models as templates
from crm_api.domain.consent import models as consent
from crm_api.domain.identity.api_keys import models as api_keys
from crm_api.domain.identity.preferences import models as preferences
from crm_api.domain.identity.users import models as users
from crm_api.domain.imports.contacts import models as contact_imports
from crm_api.domain.imports.do_not_contact import models as do_not_contact
from crm_api.domain.inbound.reconciliation import models as reconciliation
from crm_api.domain.inbound.webhook_events import models as webhook_events
from crm_api.domain.inbound.webhook_health import models as webhook_health
from crm_api.domain.inbound.webhook_setup import keys as webhook_setup
from crm_api.domain.insight import costs
from crm_api.domain.insight.attribution import models as attribution
from crm_api.domain.insight.measures import models as measures
from crm_api.domain.kit import audit_log, event_log, idempotency
from crm_api.domain.messaging.models import (
    conversations,
    holdouts,
    lines,
    media,
    number_failures,
    sends,
    timeline,
)
from crm_api.domain.monitoring import key_rotation
from crm_api.domain.monitoring.sandbox_control import clock_moves as sandbox_control
from crm_api.domain.monitoring.scheduled_jobs import models as scheduled_jobs
from crm_api.domain.monitoring.watchdog import findings as watchdog
from crm_api.domain.office.saved_replies import models as saved_replies
from crm_api.domain.outbound.notices import models as user_notices
from crm_api.domain.outbound.web_push import service as web_push
from crm_api.domain.outbound.webhook_deliveries import models as webhook_deliveries
from crm_api.domain.outbound.webhook_endpoints import models as webhook_endpoints
from crm_api.domain.people.models import (
    contacts,
    deduplication,
    erasure,
    lists,
    phone_validation,
    properties,
    tasks,
)
from crm_api.domain.sales.appointments import models as appointments
from crm_api.domain.sales.billing import models as billing
from crm_api.domain.sales.calendar_accounts import models as calendar_accounts
from crm_api.domain.sales.calendars import feeds as calendar_feeds
from crm_api.domain.sales.outcomes import models as outcomes
from crm_api.domain.sales.reminders import models as reminders
from crm_api.platform.database import Base

MODULES = (
    alerts,
    api_keys,
    appointments,
    attribution,
    audit_log,
    billing,
    calendar_accounts,
    calendar_feeds,
    campaigns,
    consent,
    contact_imports,
    contacts,
    conversations,
    costs,
    deduplication,
    do_not_contact,
    erasure,
    event_log,
    holdouts,
    idempotency,
    key_rotation,
    lines,
    lists,
    measures,
    media,
    number_failures,
    outcomes,
    outgoing_mail,
    phone_validation,
    preferences,
    properties,
    reconciliation,
    reminders,
    sandbox_control,
    saved_replies,
    scheduled_jobs,
    sends,
    timeline,
    tasks,
    user_notices,
    templates,
    users,
    watchdog,
    web_push,
    webhook_deliveries,
    webhook_endpoints,
    webhook_events,
    webhook_health,
    webhook_setup,
)
metadata = Base.metadata

"""Imports every table, so that migrations and tests see one complete metadata."""

from crm_api.db import Base
from crm_api.domain.access import models as access
from crm_api.domain.accounts import models as accounts
from crm_api.domain.activity import models as activity
from crm_api.domain.campaigns import models as campaigns
from crm_api.domain.consent import models as consent
from crm_api.domain.contacts import models as contacts
from crm_api.domain.custom_fields import models as custom_fields
from crm_api.domain.do_not_contact import models as do_not_contact
from crm_api.domain.erasure import models as erasure
from crm_api.domain.events import models as events
from crm_api.domain.idempotency import models as idempotency
from crm_api.domain.lines import models as lines
from crm_api.domain.lists import models as lists
from crm_api.domain.lookout import models as lookout
from crm_api.domain.mailbox import models as mailbox
from crm_api.domain.media import models as media
from crm_api.domain.merging import models as merging
from crm_api.domain.notes import models as notes
from crm_api.domain.operations import models as operations
from crm_api.domain.phone_validation import models as phone_validation
from crm_api.domain.playground import models as playground
from crm_api.domain.properties import models as properties
from crm_api.domain.reconciliation import models as reconciliation
from crm_api.domain.resealing import models as resealing
from crm_api.domain.segments import models as segments
from crm_api.domain.sends import models as sends
from crm_api.domain.tags import models as tags
from crm_api.domain.templates import models as templates
from crm_api.domain.transfer import models as transfer
from crm_api.domain.webhook_deliveries import models as webhook_deliveries
from crm_api.domain.webhook_endpoints import models as webhook_endpoints
from crm_api.domain.webhook_health import models as webhook_health
from crm_api.domain.webhook_setup import models as webhook_setup
from crm_api.domain.webhooks import models as webhooks

MODULES = (
    access,
    accounts,
    mailbox,
    activity,
    campaigns,
    consent,
    contacts,
    custom_fields,
    idempotency,
    do_not_contact,
    events,
    erasure,
    lines,
    lists,
    lookout,
    media,
    merging,
    notes,
    operations,
    phone_validation,
    playground,
    properties,
    reconciliation,
    resealing,
    segments,
    sends,
    tags,
    templates,
    transfer,
    webhook_deliveries,
    webhook_endpoints,
    webhook_health,
    webhook_setup,
    webhooks,
)
metadata = Base.metadata

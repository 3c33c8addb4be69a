"""Hot queries of the audit log."""

from datetime import timedelta

from tests.conftest import NOW
from tests.migrations.hot import PLACE, Hot

from crm_api.domain.operations import audit_queries as audit
from crm_api.domain.operations.audit_schemas import AuditFilter


def _page(name: str, index: str, wanted: AuditFilter) -> Hot:
    return Hot(
        f"the audit log by {name}",
        {f"idx_audit_log_{index}"},
        lambda s: audit.list_entries(s, wanted, after=(PLACE[0], 5), limit=51),
    )


AUDIT = (
    _page("time", "created", AuditFilter()),
    _page("actor", "actor", AuditFilter(actor="key5")),
    _page("the actor's id", "actor_id", AuditFilter(actor_id="id5")),
    _page("act", "act", AuditFilter(action="act5")),
    _page("subject", "subject", AuditFilter(subject="x5")),
    Hot(
        "entries of the audit log that are too old",
        {"idx_audit_log_created"},
        lambda s: audit.remove(s, before=NOW - timedelta(days=365), limit=100),
    ),
)
